package daemon

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackOnceAfterARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bytes atomic.Uint64
		began := time.Now()
		var given []time.Duration
		watch := rushWatch{
			allocated: bytes.Load,
			giveBack: func() {
				given = append(given, time.Since(began))
				bytes.Add(rush) // what that itself takes is no rush
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- watch.run(ctx) }()

		time.Sleep(rushTick / 2)
		for range 30 { // a minute's rush
			bytes.Add(calm)
			time.Sleep(rushTick)
		}
		time.Sleep(time.Hour)
		for range 10 * time.Hour / time.Minute { // now and then a caller: a rush's worth by the end of the time
			time.Sleep(time.Minute)
			bytes.Add(rush / 400)
		}
		time.Sleep(time.Minute)
		cancel()
		<-done
		if len(given) != 2 || given[0] != time.Minute+rushTick || given[1] < 7*time.Hour {
			t.Errorf("memory was given back %v after the start", given)
		}
	})
}
