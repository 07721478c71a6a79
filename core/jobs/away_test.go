package jobs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

func TestTheTargetIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(away)
		ids := []string{r.submit("a"), r.submit("a"), r.submit("b")}
		after(900 * time.Millisecond)
		if works, _ := r.came(); len(works) != 1 {
			t.Errorf("%d jobs tried a target that was away for the first", len(works))
		}
		job := r.expect(ids[0], core.JobQueued)
		if job.Attempt != 0 || job.Error != "connection refused" || len(job.Attempts) != 1 || job.Attempts[0].Counts {
			t.Errorf("it counts: %+v", job)
		}
		after(2 * time.Second)
		r.looks(core.Degraded)
		r.answers(says(200, "{}"))
		after(time.Hour)
		if works, _ := r.came(); len(works) != 0 || len(r.turns.waiting) != 0 {
			t.Errorf("%d jobs went to a target that was degraded, %d want to", len(works), len(r.turns.waiting))
		}
		r.looks(core.Healthy)
		after(time.Second)
		if _, at := r.came(); len(at) == 0 {
			t.Error("no job went on within a second")
		}
		after(4 * time.Second)
		for _, id := range ids {
			r.expect(id, core.JobDone)
		}
	})
}

// TestAwayLeavesTheQueue: nothing is loaded for a job that can't run.
func TestAwayLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.turns.take()
		r.submit("a")
		for _, status := range []core.Status{core.Healthy, core.Degraded, core.Starting, core.Healthy} {
			r.looks(status)
			after(time.Second)
			want := 0
			if status == core.Healthy {
				want = 1
			}
			if n := len(r.turns.waiting); n != want {
				t.Errorf("%d wait for a turn at a target that is %s", n, status)
			}
		}
	})
}

// TestAShortOutage isn't over before the poller has seen it, and no one looks.
func TestAShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(away)
		id := r.submit("a")
		after(1500 * time.Millisecond)
		r.answers(says(200, "{}"))
		r.looks(core.Healthy)
		after(time.Second)
		if works, _ := r.came(); len(works) != 1 {
			t.Errorf("%d attempts in the second after it", len(works))
		}
		after(time.Second)
		r.expect(id, core.JobDone)
	})
}

// TestNobodyLooks at a target that is away for a moment, and again.
func TestNobodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		for range 4 {
			r.answers(away)
			id := r.submit("a")
			after(500 * time.Millisecond)
			r.answers(says(200, "{}"))
			after(2 * time.Second)
			r.expect(id, core.JobDone)
		}
	})
}

// TestALongerOutage is over when the job has tried three times.
func TestALongerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(away)
		r.submit("a")
		after(3500 * time.Millisecond)
		if works, _ := r.came(); len(works) != 3 {
			t.Errorf("%d tries", len(works))
		}
		r.answers(says(200, "{}"))
		r.looks(core.Healthy)
		after(time.Second)
		if works, _ := r.came(); len(works) != 1 {
			t.Errorf("%d attempts in the second after it", len(works))
		}
	})
}

// TestATargetThatOnlyLooksWell lists its models, and refuses every job.
func TestATargetThatOnlyLooksWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(away)
		r.submit("a")
		for range 600 {
			after(time.Second)
			r.looks(core.Healthy)
		}
		if works, _ := r.came(); len(works) < 12 || len(works) > 35 {
			t.Errorf("%d tries in ten minutes", len(works))
		}
	})
}

func TestAwayForTooLong(t *testing.T) {
	for name, degraded := range map[string]bool{"and nobody sees it": false, "and degraded": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				r.answers(away)
				id := r.submit("a")
				after(time.Minute)
				if degraded {
					r.looks(core.Degraded)
				}
				after(23 * time.Hour)
				r.expect(id, core.JobQueued)
				after(time.Hour + time.Minute)
				job := r.expect(id, core.JobFailed)
				if want := "the target has been away for 24h0m0s: connection refused"; job.Error != want {
					t.Errorf("%q, want %q", job.Error, want)
				}
				if job.Attempt != 0 || !degraded && len(job.Attempts) != 100 {
					t.Errorf("attempt %d of %d", job.Attempt, len(job.Attempts))
				}
			})
		})
	}
}

// TestALongQueueOutlivesABlip: waiting for others isn't waiting for the target.
func TestALongQueueOutlivesABlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.turns.take() // somebody else's, for two days
		id := r.submit("a")
		after(48 * time.Hour)
		r.answers(away)
		r.turns.give()
		after(10 * time.Second)
		r.looks(core.Healthy)
		r.looks(core.Degraded)
		after(10 * time.Second)
		r.expect(id, core.JobQueued)
	})
}

// TestStoppedIsNotAway: a job that a stop cut off long ago meets a blip.
func TestStoppedIsNotAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(says(200, ""))
		id := r.submit("a")
		after(500 * time.Millisecond)
		r.stop()
		after(25 * time.Hour)
		r.answers(away)
		r.again()
		after(2 * time.Second)
		r.expect(id, core.JobQueued)
	})
}
