package jobs_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// breaksOnly has that method of the store fail.
func (r *room) breaksOnly(broken, problem string) {
	r.store.breaks(func(method string) error {
		if method == broken {
			return errors.New(problem)
		}
		return nil
	})
}

// TestNoRoomForJobs shows while little things can be written still, until one
// is kept again or nobody knows any more.
func TestNoRoomForJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		id := r.submit("a")
		r.breaksOnly("Insert", "disk full")
		_, _, _ = r.Submit(t.Context(), core.JobRequest{Model: "a"})
		after(time.Minute)
		r.expect(id, core.JobDone)
		if got := r.StoreError(); got != "disk full" {
			t.Errorf("it tells %q", got)
		}
		after(10 * time.Minute)
		if got := r.StoreError(); got != "" {
			t.Errorf("long after it tells %q", got)
		}
	})
}

// TestTheStoreDoesNotWork, and that is told until a use of that kind does: a
// disk that is full can be read all the while.
func TestTheStoreDoesNotWork(t *testing.T) {
	submit := func(r *room) { _, _, _ = r.Submit(r.t.Context(), core.JobRequest{Model: "a"}) }
	for method, c := range map[string]struct {
		use  func(r *room)
		want string
		mend func(r *room) // by itself if nil
	}{
		"Insert": {submit, "disk full", submit},
		"Claim":  {use: submit, want: "disk full"},
		"Finish": {use: submit, want: "disk full"},
		"PutBack": {use: func(r *room) {
			r.answers(says(500, ""))
			submit(r)
		}, want: "disk full"},
		"Cancel": {func(r *room) {
			r.looks(core.Degraded)
			_, _ = r.Cancel(r.t.Context(), r.submit("a"))
		}, "disk full", submit},
		"Retry": {func(r *room) { _, _ = r.Retry(r.t.Context(), "whichever") }, "disk full", submit},
		"Fail": {use: func(r *room) {
			soon := time.Now().Add(time.Second)
			r.turns.take()
			r.submit("b", func(q *core.JobRequest) { q.ExpiresAt = &soon })
		}, want: "disk full"},
		"Heads": {use: submit, want: "look for jobs that are due: disk full"},
	} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				after(time.Second)
				r.breaksOnly(method, "disk full")
				c.use(r)
				after(20 * time.Second)
				if got := r.StoreError(); got != c.want {
					t.Errorf("it tells %q, want %q", got, c.want)
				}
				r.store.breaks(nil)
				if c.mend != nil {
					c.mend(r)
				}
				after(time.Minute)
				if got := r.StoreError(); got != "" {
					t.Errorf("of a store that works it tells %q", got)
				}
			})
		})
	}
}

// TestARefusalIsNoFaultOfTheStore, and nor is it one that the asker has left.
func TestARefusalIsNoFaultOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		id := r.submit("a")
		after(time.Minute)
		if _, err := r.Cancel(t.Context(), id); !errors.Is(err, core.ErrJobConflict) {
			t.Errorf("Cancel: %v", err)
		}
		if _, err := r.Retry(t.Context(), "none"); !errors.Is(err, core.ErrNoJob) {
			t.Errorf("Retry: %v", err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		r.breaksOnly("Insert", "interrupted")
		if _, _, err := r.Submit(gone, core.JobRequest{Model: "a"}); err == nil {
			t.Error("Submit returns no error")
		}
		if got := r.StoreError(); got != "" {
			t.Errorf("it tells %q", got)
		}
	})
}
