package jobs_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

// TestAQueueIsNoOutage: a job waits behind another between two refusals, at a
// target that lists its models all the time.
func TestAQueueIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(_ *room, opts *jobs.Options) { opts.MaxAge = 50 * time.Second })
		r.answers(away)
		id := r.submit("a")
		after(500 * time.Millisecond)
		r.turns.take()
		for range 57 {
			after(time.Second)
			r.looks(core.Healthy)
		}
		r.turns.give()
		after(900 * time.Millisecond)
		if job := r.expect(id, core.JobQueued); len(job.Attempts) != 2 {
			t.Errorf("%d attempts", len(job.Attempts))
		}
	})
}

// TestAnErrorIsNoOutage: of the attempts that don't count, one got no answer
// for a reason that says nothing about where the target is.
func TestAnErrorIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(_ *room, opts *jobs.Options) { opts.MaxAge = 50 * time.Second })
		r.answers(func(context.Context, core.Work, core.Sink) error {
			return &core.Fault{Reason: core.ReasonUnknown, Detail: "odd"}
		})
		r.gives(dead)
		id := r.submit("a")
		after(500 * time.Millisecond)
		r.turns.take()
		after(57 * time.Second)
		r.answers(away)
		r.turns.give()
		after(900 * time.Millisecond)
		if job := r.expect(id, core.JobQueued); len(job.Attempts) != 2 {
			t.Errorf("%d attempts", len(job.Attempts))
		}
	})
}

// TestARetryWaitsAnew for a target that still is away.
func TestARetryWaitsAnew(t *testing.T) {
	for name, status := range map[string]core.Status{"and nobody sees it": core.Healthy, "and degraded": core.Degraded} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				r.answers(away)
				id := r.submit("a")
				after(time.Minute)
				if status == core.Degraded {
					r.looks(status)
				}
				after(25 * time.Hour)
				for range 2 {
					r.expect(id, core.JobFailed)
					if _, err := r.Retry(t.Context(), id); err != nil {
						t.Fatal(err)
					}
					after(23 * time.Hour)
					r.expect(id, core.JobQueued)
					after(2 * time.Hour)
				}
			})
		})
	}
}

// TestNobodyWatched what the target did while foreman didn't run.
func TestNobodyWatched(t *testing.T) {
	for name, status := range map[string]core.Status{"refused": core.Healthy, "degraded": core.Degraded} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				r.answers(away)
				id := r.submit("a")
				after(2 * time.Second)
				r.stop()
				after(60 * time.Hour)
				r.looks(status)
				r.snapshot.LastSuccess = time.Time{} // in this process
				r.again()
				after(23 * time.Hour)
				r.expect(id, core.JobQueued)
				after(2 * time.Hour)
				r.expect(id, core.JobFailed)
			})
		})
	}
}

// asleep is a store that stops as the whole machine does, once.
type asleep struct {
	*memory
	once sync.Once
}

func (a *asleep) Heads(ctx context.Context, now time.Time, limit int) ([]core.Job, time.Time, error) {
	if time.Since(midnight) > time.Minute {
		a.once.Do(func() { time.Sleep(60 * time.Hour) }) // in the bubble
	}
	return a.memory.Heads(ctx, now, limit)
}

// midnight is when a bubble begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestASleepIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(r *room, _ *jobs.Options) { r.deps.Store = &asleep{memory: r.store} })
		r.answers(away)
		id := r.submit("a")
		after(30 * time.Second)
		r.looks(core.Degraded)
		after(61 * time.Hour)
		r.expect(id, core.JobQueued)
		after(24 * time.Hour)
		r.expect(id, core.JobFailed)
	})
}
