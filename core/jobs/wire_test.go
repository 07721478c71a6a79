package jobs_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

// dead is no sign of life.
func dead(context.Context) error { return refused }

// breaks begins an answer if so, and breaks off after that time.
func breaks(begins bool, d time.Duration, err error) func(context.Context, core.Work, core.Sink) error {
	return func(ctx context.Context, _ core.Work, sink core.Sink) error {
		if begins {
			sink.Begin(200, "application/x-ndjson")
			_, _ = sink.Write([]byte("{}\n"))
		}
		if cut := wait(ctx, d); cut != nil {
			return cut
		}
		return err
	}
}

func fault(reason core.Reason) error {
	return &core.Fault{Reason: reason, Detail: "it is " + string(reason)}
}

// TestNoWholeAnswer counts against a target that lives, and not against one
// that is away, but for what says by itself that the job never got there.
func TestNoWholeAnswer(t *testing.T) {
	for _, c := range []struct {
		err    error
		begins bool
		sign   func(context.Context) error // nil: of life
		counts bool
		error  string
	}{
		{fault(core.ReasonReset), false, nil, true, "it is reset"},
		{fault(core.ReasonReset), true, nil, true, "the target broke off: it is reset"},
		{fault(core.ReasonTimeout), false, nil, true, "it is timeout"},
		{fault(core.ReasonTimeout), true, nil, true, "the target broke off: it is timeout"},
		{fault(core.ReasonUnknown), false, nil, true, "it is unknown"},
		{fault(core.ReasonReset), false, dead, false, "it is reset"},
		{fault(core.ReasonReset), true, dead, false, "the target broke off: it is reset"},
		{fault(core.ReasonTimeout), false, dead, false, "it is timeout"},
		{fault(core.ReasonTimeout), true, dead, false, "the target broke off: it is timeout"},
		{fault(core.ReasonTLS), false, dead, false, "it is tls"},
		{fault(core.ReasonRefused), false, nil, false, "it is refused"},
		{fault(core.ReasonNoRoute), false, nil, false, "it is no_route"},
		{fault(core.ReasonDNS), false, nil, false, "it is dns"},
		{core.ErrUnavailable, false, nil, false, core.ErrUnavailable.Error()},
	} {
		t.Run(fmt.Sprintf("%v, begun %t, away %t", c.err, c.begins, c.sign != nil), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				r.answers(breaks(c.begins, time.Second, c.err))
				if c.sign != nil {
					r.gives(c.sign)
				}
				id := r.submit("a")
				after(20 * time.Second)
				r.looks(core.Degraded) // so that no attempt is under way
				after(10 * time.Second)
				want, attempts := core.JobQueued, 0
				if c.counts {
					want, attempts = core.JobFailed, 3
				}
				job := r.expect(id, want)
				if job.Attempt != attempts || job.Error != c.error || job.Attempts[0].Counts != c.counts || r.turns.failed != attempts {
					t.Errorf("%d of %d attempts count, %d faults were told: %q", job.Attempt, len(job.Attempts), r.turns.failed, job.Error)
				}
				if _, err := r.Result(t.Context(), id); err == nil {
					t.Error("it has a result")
				}
			})
		})
	}
}

// TestAJobThatEndsItsTarget is given up in the end, though each time somebody
// starts that again.
func TestAJobThatEndsItsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(breaks(true, time.Second, fault(core.ReasonTruncated)))
		r.gives(dead)
		id := r.submit("a")
		for range 120 { // looks that find it
			after(30 * time.Second)
			r.looks(core.Healthy)
		}
		job := r.expect(id, core.JobFailed)
		if want := "the target ended in each of 10 attempts: the target broke off: it is truncated"; job.Error != want || len(job.Attempts) != 10 {
			t.Errorf("after %d attempts: %q", len(job.Attempts), job.Error)
		}
	})
}

// TestALongAnswerIsNoOutage: a target that goes away at the end of one was
// there all the time.
func TestALongAnswerIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(_ *room, opts *jobs.Options) { opts.MaxAge = time.Hour })
		r.answers(breaks(true, 90*time.Minute, fault(core.ReasonTimeout)))
		r.gives(dead)
		id := r.submit("a")
		after(90*time.Minute + 100*time.Millisecond)
		r.answers(away)
		after(10 * time.Minute)
		if job := r.expect(id, core.JobQueued); len(job.Attempts) < 3 {
			t.Errorf("%d attempts", len(job.Attempts))
		}
		after(55 * time.Minute)
		r.expect(id, core.JobFailed)
	})
}

// TestASleepOverAnAnswer may come as often as it likes.
func TestASleepOverAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(breaks(true, time.Hour, fault(core.ReasonTimeout)))
		r.gives(dead)
		id := r.submit("a")
		for range 5 {
			after(time.Hour + time.Second)
			r.looks(core.Degraded)
			after(8 * time.Hour)
			r.looks(core.Healthy)
		}
		r.answers(says(200, "{}"))
		after(2 * time.Hour)
		if job := r.expect(id, core.JobDone); job.Attempt != 1 || len(job.Attempts) != 6 {
			t.Errorf("%d of %d attempts count", job.Attempt, len(job.Attempts))
		}
	})
}

// TestASignOfLifeTakesLong: the turn is kept for it, but not for ever.
func TestASignOfLifeTakesLong(t *testing.T) {
	hangs := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(breaks(false, time.Second, fault(core.ReasonReset)))
		r.gives(hangs)
		id := r.submit("a")
		r.submit("b")
		after(3 * time.Second)
		r.expect(id, core.JobLoading)
		if works, _ := r.came(); len(works) != 1 {
			t.Errorf("the target was asked %d times", len(works))
		}
		after(3500 * time.Millisecond)
		if job := r.get(id); len(job.Attempts) != 1 || job.Attempts[0].Counts {
			t.Errorf("it is %+v", job)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(breaks(false, time.Second, fault(core.ReasonReset)))
		r.gives(hangs)
		id := r.submit("a")
		after(1500 * time.Millisecond)
		if job, err := r.Cancel(t.Context(), id); err != nil || job.State != core.JobCancelled {
			t.Errorf("cancelled meanwhile it is %s, %v", job.State, err)
		}
	})
}

// TestAnAttemptThatNeverEnds is cut off, and isn't made again.
func TestAnAttemptThatNeverEnds(t *testing.T) {
	const why = "the attempt took longer than jobs.max_run allows, 10m0s"
	for name, begins := range map[string]bool{"loading": false, "in mid-answer": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, func(_ *room, opts *jobs.Options) { opts.MaxRun = 10 * time.Minute })
				r.gives(func(context.Context) error {
					t.Error("a sign of life was asked for")
					return nil
				})
				r.answers(breaks(begins, 100*time.Hour, nil))
				id, next := r.submit("a"), r.submit("b")
				after(10*time.Minute - time.Second)
				r.expect(next, core.JobQueued)
				r.answers(says(200, "{}"))
				after(2 * time.Second)
				job := r.expect(id, core.JobFailed)
				if job.Error != why || len(job.Attempts) != 1 || job.Attempts[0].Reason != "overran" || job.Attempt != 1 || r.turns.failed != 1 {
					t.Errorf("it is %+v", job)
				}
				if _, err := r.Result(t.Context(), id); err == nil {
					t.Error("it has a result")
				}
				after(2 * time.Second)
				r.expect(next, core.JobDone)
				after(time.Hour)
				if works, _ := r.came(); len(works) != 1 {
					t.Errorf("the target was asked %d times more", len(works))
				}
			})
		})
	}
}

// TestMaxRunChanges for the attempts that begin from then on.
func TestMaxRunChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(breaks(true, time.Hour, nil))
		first, second := r.submit("a"), r.submit("a")
		after(time.Minute)
		changed := options
		changed.MaxRun = 10 * time.Minute
		r.Set(changed)
		after(65 * time.Minute)
		r.expect(first, core.JobDone)
		r.expect(second, core.JobWorking)
		after(6 * time.Minute)
		r.expect(second, core.JobFailed)
	})
}
