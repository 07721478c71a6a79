package events

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Options are a follower's settings.
type Options struct {
	Settle   int    // successful looks until a model that is gone counts as removed
	StateDir string // where it remembers that it told degraded
}

// A Follower tells what changes about the target. What it told of the
// target's health outlives it: a foreman that is started again while the
// target is still away doesn't say so again, and says when it is back.
type Follower struct {
	watch  func() (*core.Snapshot, <-chan struct{})
	tell   func(core.Event)
	memory memory
	log    *slog.Logger

	settle atomic.Int64

	// What is believed from the start on, so that nothing is missed until Run.
	first      *core.Snapshot
	superseded <-chan struct{}
}

// NewFollower follows what watch returns: a snapshot, and a channel that
// closes when there is another. The one of this moment is the first. tell gets
// events without an ID, in order, from Run's goroutine, and mustn't block.
func NewFollower(watch func() (*core.Snapshot, <-chan struct{}), tell func(core.Event), opts Options, log *slog.Logger) *Follower {
	f := &Follower{watch: watch, tell: tell, memory: newMemory(opts.StateDir), log: log}
	f.SetSettle(opts.Settle)
	f.first, f.superseded = watch()
	return f
}

// SetSettle changes [Options].Settle from the next snapshot on.
func (f *Follower) SetSettle(looks int) { f.settle.Store(int64(looks)) }

// Run tells what changes until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	remembered, err := f.memory.load()
	if err != nil {
		f.log.Warn("what was last told of the target's health can't be read: it may be told again", "error", err)
	}
	changes := core.Changes{Outage: remembered}
	snapshot, superseded := f.first, f.superseded
	for {
		changes.Settle = int(f.settle.Load())
		events := changes.After(snapshot, time.Now())
		news := changes.Outage != remembered
		remembered = changes.Outage
		if news && remembered != nil {
			begun := *remembered
			begun.Told = false
			f.remember(&begun)
		}
		for _, event := range events {
			f.tell(event)
		}
		// Not before: if foreman is killed in between, it is told twice, not never.
		if news {
			f.remember(remembered)
		}
		select {
		case <-superseded:
		case <-ctx.Done():
			return nil
		}
		snapshot, superseded = f.watch()
	}
}

func (f *Follower) remember(outage *core.Outage) {
	if err := f.memory.save(outage); err != nil {
		f.log.Warn("what was told of the target's health can't be saved", "error", err)
	}
}
