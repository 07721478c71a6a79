package outbox_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

func TestAttemptsGrowApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: fails(errors.New("no"))}
		q := start(t, r, t.TempDir(), everything)
		q.Offer(added(0))
		pass(12 * time.Hour)
		var gaps []time.Duration
		for i := 1; i < len(r.attempts()); i++ {
			gaps = append(gaps, r.attempts()[i].after-r.attempts()[i-1].after)
		}
		if first := gaps[0]; first < 500*time.Millisecond || first > 1500*time.Millisecond {
			t.Errorf("the second attempt came after %v", first)
		}
		if longest := slices.Max(gaps); longest > 5*time.Minute || longest < 4*time.Minute {
			t.Errorf("the longest pause was %v", longest)
		}
		if n := len(gaps); n < 144 || n > 300 {
			t.Errorf("%d attempts in twelve hours", n)
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(gaps)))
		if len(distinct) < len(gaps)/3 {
			t.Errorf("%d different pauses among %d: no jitter", len(distinct), len(gaps))
		}

		r.answers(nil)
		pass(5 * time.Minute)
		r.answers(fails(errors.New("again")))
		q.Offer(added(1))
		pass(1500 * time.Millisecond)
		if n := len(r.attempts()); n < 2 {
			t.Errorf("%d attempts of the next event: the pauses don't begin anew", n)
		}
	})
}

func TestRetryEndsTheBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: fails(core.ErrUnavailable)}
		q := start(t, r, t.TempDir(), everything)
		q.Offer(added(0))
		pass(time.Hour)
		r.answers(fails(core.ErrUnavailable))
		q.Retry()
		pass(400 * time.Millisecond)
		if n := len(r.attempts()); n != 1 {
			t.Errorf("%d attempts at once", n)
		}
		pass(1100 * time.Millisecond)
		if n := len(r.attempts()); n < 2 {
			t.Error("the pauses don't begin anew")
		}
		pass(time.Hour)
		r.answers(nil)
		q.Retry()
		synctest.Wait()
		if want := 2*time.Hour + 1500*time.Millisecond; len(r.got()) != 1 || r.got()[0].after != want {
			t.Errorf("arrived: %v", r.got())
		}
	})
}

func TestRetryDuringAnAttemptCountsIfItFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: hangs}
		q := start(t, r, t.TempDir(), everything)
		q.Offer(added(0))
		pass(9 * time.Second) // of 10: the process that was asked is gone
		r.answers(nil)
		q.Retry()
		pass(time.Second)
		if len(r.got()) != 1 || r.got()[0].after != 10*time.Second {
			t.Errorf("arrived: %v", r.got())
		}
		r.answers(fails(errors.New("no")))
		q.Offer(added(1))
		pass(400 * time.Millisecond)
		if n := len(r.attempts()); n != 1 {
			t.Errorf("%d attempts: the retry isn't forgotten", n)
		}
	})
}

func TestAHungAttemptTimesOut(t *testing.T) {
	opts := everything
	opts.Timeout = 3 * time.Second
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: hangs}
		q := start(t, r, t.TempDir(), opts)
		q.Offer(added(0))
		pass(3 * time.Second)
		if s := q.Status(); s.Error == "" || s.Queued != 1 {
			t.Errorf("after the timeout: %+v", s)
		}
		pass(time.Minute)
		if n := len(r.attempts()); n < 3 || n > 20 {
			t.Errorf("%d attempts in a minute", n)
		}
	})
}

func TestTheEndTriesOnceMore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(context.Context, core.Event) error
		takes  time.Duration
		left   int
	}{
		{"it is well again", nil, 0, 0},
		{"it fails still", fails(errors.New("no")), 0, 3},
		{"it hangs", hangs, time.Second, 3},
		{"it is slow", slow(600 * time.Millisecond), time.Second, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir := t.TempDir()
				r := &recipient{answer: fails(errors.New("no"))}
				q := start(t, r, dir, everything)
				for n := range 3 {
					q.Offer(added(n))
				}
				pass(time.Hour)
				r.answers(tt.answer)
				ended := time.Now()
				q.stop()
				if took := time.Since(ended); took != tt.takes {
					t.Errorf("it took %v, want %v", took, tt.takes)
				}
				if s := q.Status(); s.Queued != tt.left {
					t.Errorf("%d are left, want %d", s.Queued, tt.left)
				}
				if len(r.attempts()) == 0 {
					t.Error("there was no last try")
				}

				q.Offer(added(9))
				if s := q.Status(); s.Dropped != 1 {
					t.Errorf("after the end: %+v", s)
				}
				r.answers(nil)
				start(t, r, dir, everything)
				synctest.Wait()
				if diff := cmp.Diff(addedIDs(0, 3), r.ids()); diff != "" {
					t.Errorf("with the next start: %s", diff)
				}
			})
		})
	}
}
