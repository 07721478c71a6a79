package daemon

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	rushTick = 2 * time.Second
	// rush is what foreman allocates in a rush; calm is less than that within
	// a tick, as between polls and while somebody now and then asks.
	rush = 16 << 20
	calm = 1 << 20
)

// rushWatch has memory given back to the system once a rush is over. Go by
// itself keeps what the rush took, until some minutes have passed; foreman
// often runs where the models need it more.
type rushWatch struct {
	allocated func() uint64 // bytes since the start
	giveBack  func()
}

// run watches until ctx ends.
func (w rushWatch) run(ctx context.Context) error {
	ticker := time.NewTicker(rushTick)
	defer ticker.Stop()
	given := w.allocated()
	last := given
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := w.allocated()
		if now-last < calm && now-given >= rush {
			w.giveBack()
			given = w.allocated()
		}
		last = now
	}
}

// allocated is how many bytes of heap this process has ever asked for.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// giveBack collects twice, since what lies in a [sync.Pool] outlives the first.
func giveBack() {
	runtime.GC()
	debug.FreeOSMemory()
}
