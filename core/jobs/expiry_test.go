package jobs_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

func expires(in time.Duration) func(*core.JobRequest) {
	at := time.Now().Add(in)
	return func(q *core.JobRequest) { q.ExpiresAt = &at }
}

// TestExpiredJobsNeverRun, however many there are at once.
func TestExpiredJobsNeverRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.turns.take()
		var ids []string
		for range 350 {
			ids = append(ids, r.submit("a", expires(7*time.Second)))
		}
		after(7 * time.Second)
		for _, id := range ids {
			r.expect(id, core.JobFailed)
		}
		r.turns.give()
		last := r.submit("a")
		after(2 * time.Second)
		r.expect(last, core.JobDone)
		if works, _ := r.came(); len(works) != 1 {
			t.Errorf("the target was asked %d times", len(works))
		}
	})
}

// TestATurnThatComesTooLate, before anybody has looked for expired jobs.
func TestATurnThatComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(r *room, _ *jobs.Options) { r.deps.Store = lagging{r.store} })
		r.turns.take()
		id := r.submit("a", expires(3*time.Second))
		after(2950 * time.Millisecond)
		r.submit("b") // a look begins that takes 100 ms
		after(60 * time.Millisecond)
		r.turns.give()
		after(time.Second)
		if job := r.expect(id, core.JobFailed); !strings.Contains(job.Error, "expired") || len(job.Attempts) != 0 {
			t.Errorf("it is %+v", job)
		}
	})
}

// TestExpiredJobsThatStay, as the store can't fail them, hold nothing up.
func TestExpiredJobsThatStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		r := open(t, func(r *room, _ *jobs.Options) {
			r.store.breaks(func(method string) error {
				if method != "Fail" {
					return nil
				}
				tries++
				return errors.New("disk full")
			})
		})
		r.looks(core.Starting)
		for range 150 {
			r.submit("a", expires(time.Second))
		}
		other := r.submit("b")
		after(2 * time.Second)
		r.looks(core.Healthy)
		after(10 * time.Second)
		r.expect(other, core.JobDone)
		if works, _ := r.came(); len(works) != 1 || tries > 2000 {
			t.Errorf("the target was asked %d times; %d tries to fail them", len(works), tries)
		}
	})
}
