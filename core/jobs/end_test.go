package jobs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.turns.take()
		soon, late := time.Now().Add(10*time.Minute), time.Now().Add(time.Hour)
		for range 10 {
			r.submit("a")
		}
		deep := r.submit("a", func(q *core.JobRequest) { q.ExpiresAt = &soon })
		head := r.submit("b", func(q *core.JobRequest) { q.ExpiresAt = &soon })
		runs := r.submit("c", func(q *core.JobRequest) { q.ExpiresAt = &late })
		after(9 * time.Minute)
		r.expect(deep, core.JobQueued)
		after(time.Minute + 6*time.Second)
		for _, id := range []string{deep, head} {
			if job := r.expect(id, core.JobFailed); !strings.Contains(job.Error, "expired") {
				t.Errorf("%q", job.Error)
			}
		}
		r.turns.give()
		after(time.Minute)
		r.expect(runs, core.JobDone)
	})
}

func TestCancel(t *testing.T) {
	slow := func(ctx context.Context, _ core.Work, sink core.Sink) error {
		if err := wait(ctx, time.Minute); err != nil {
			return err
		}
		sink.Begin(200, "")
		for {
			if err := wait(ctx, time.Second); err != nil {
				return &core.Fault{Reason: core.ReasonReset, Detail: err.Error()}
			}
			_, _ = sink.Write([]byte("x"))
		}
	}
	for name, c := range map[string]struct {
		after time.Duration
		state core.JobState
		life  string
	}{
		"queued":  {0, core.JobQueued, "queued cancelled"},
		"loading": {30 * time.Second, core.JobLoading, "queued loading cancelled"},
		"working": {90 * time.Second, core.JobWorking, "queued loading working cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				r.answers(slow)
				if c.after == 0 {
					r.turns.take()
				}
				id := r.submit("a")
				after(c.after)
				r.expect(id, c.state)
				began := time.Now()
				job, err := r.Cancel(t.Context(), id)
				if err != nil || job.State != core.JobCancelled || time.Since(began) > 0 {
					t.Errorf("Cancel: %s after %s, %v", job.State, time.Since(began), err)
				}
				synctest.Wait()
				if r.running != 0 || len(r.turns.waiting) != 0 {
					t.Error("the target still works on it, or it waits for a turn")
				}
				if got := r.life(id); got != c.life {
					t.Errorf("told: %s", got)
				}
				if _, err := r.Cancel(t.Context(), id); !errors.Is(err, core.ErrJobConflict) {
					t.Errorf("a second Cancel: %v", err)
				}
				r.answers(says(200, "{}"))
				if c.after == 0 {
					r.turns.give()
				}
				if job, err := r.Retry(t.Context(), id); err != nil || job.State != core.JobQueued {
					t.Errorf("Retry: %+v, %v", job, err)
				}
				after(2 * time.Second)
				r.expect(id, core.JobDone)
			})
		})
	}
}

func TestStopPutsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(func(ctx context.Context, _ core.Work, sink core.Sink) error {
			sink.Begin(200, "")
			<-ctx.Done()
			return ctx.Err()
		})
		ids := []string{r.submit("a"), r.submit("a"), r.submit("b")}
		after(time.Minute)
		r.expect(ids[0], core.JobWorking)
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		for i, id := range ids {
			if job := r.expect(id, core.JobQueued); job.Attempt != 0 || len(job.Attempts) != max(0, 1-i) || job.NotBefore != nil {
				t.Errorf("it is %+v", job)
			}
		}
		r.answers(says(200, "{}"))
		r.again()
		after(4 * time.Second)
		for _, id := range ids {
			r.expect(id, core.JobDone)
		}
	})
}

// hung has one method that hangs, for as long as it may.
type hung struct {
	*memory
	method string
}

func (h hung) try(ctx context.Context, method string, do func() error) error {
	if h.method != method {
		return do()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h hung) Fail(ctx context.Context, id, reason string, now time.Time) error {
	return h.try(ctx, "Fail", func() error { return h.memory.Fail(ctx, id, reason, now) })
}

func (h hung) Claim(ctx context.Context, id, node string, now time.Time) (job core.Job, payload []byte, err error) {
	err = h.try(ctx, "Claim", func() error {
		job, payload, err = h.memory.Claim(ctx, id, node, now)
		return err
	})
	return job, payload, err
}

func (h hung) Working(ctx context.Context, id, node string) error {
	return h.try(ctx, "Working", func() error { return h.memory.Working(ctx, id, node) })
}

func (h hung) Finish(ctx context.Context, id, node string, state core.JobState, reason string, attempt *core.Attempt, result *core.JobResult) error {
	return h.try(ctx, "Finish", func() error { return h.memory.Finish(ctx, id, node, state, reason, attempt, result) })
}

func (h hung) Told(ctx context.Context, id string) error {
	return h.try(ctx, "Told", func() error { return h.memory.Told(ctx, id) })
}

// TestStopIsShort, whatever the store hangs in when it comes.
func TestStopIsShort(t *testing.T) {
	expires := func(q *core.JobRequest) {
		soon := time.Now().Add(500 * time.Millisecond)
		q.ExpiresAt = &soon
	}
	for name, c := range map[string]struct {
		method string
		change func(*room) // before the jobs come
		job    func(*core.JobRequest)
	}{
		"a claim":              {"Claim", nil, nil},
		"the beginning":        {"Working", nil, nil},
		"an end":               {"Finish", nil, nil},
		"what was told":        {"Told", nil, to("http://a")},
		"many that expired":    {"Fail", func(r *room) { r.turns.take() }, expires},
		"many that waited":     {"Fail", func(r *room) { r.looks(core.Degraded) }, nil},
		"many without a model": {"Fail", func(r *room) { r.looks(core.Healthy, "b") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := openWithWebhooks(t, func(r *room, opts *jobs.Options) {
					opts.MaxAge = time.Second
					r.deps.Store = hung{r.store, c.method}
				})
				if c.change != nil {
					c.change(r)
				}
				for range 5 {
					r.submit("a", func(q *core.JobRequest) {
						if c.job != nil {
							c.job(q)
						}
					})
				}
				after(6 * time.Second)
				began := time.Now()
				r.stop()
				if took := time.Since(began); took == 0 || took > 2*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestABackThatIsAnEnd: a job that another node wants cancelled doesn't wait
// once it is put back.
func TestABackThatIsAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(_ *room, opts *jobs.Options) { opts.MaxQueued = 1 })
		r.answers(says(500, ""))
		id := r.submit("a")
		after(900 * time.Millisecond)
		if _, err := r.store.Cancel(t.Context(), id, time.Now()); err != nil {
			t.Fatal(err)
		}
		after(200 * time.Millisecond)
		r.expect(id, core.JobCancelled)
		if got := r.life(id); got != "queued loading working cancelled" {
			t.Errorf("told: %s", got)
		}
		r.submit("a") // as none waits
	})
}

func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(func(ctx context.Context, _ core.Work, sink core.Sink) error {
			<-ctx.Done()
			return ctx.Err()
		})
		id := r.submit("a")
		after(time.Minute)
		r.kill()
		r.expect(id, core.JobLoading)
		r.answers(says(200, "{}"))
		r.again()
		after(2 * time.Second)
		if job := r.expect(id, core.JobDone); job.Attempt != 1 || len(job.Attempts) != 2 {
			t.Errorf("it is %+v", job)
		}
	})
}

// doubtful claims a job, and once says that it didn't.
type doubtful struct {
	*memory
	once      sync.Once
	cancelled bool // by another node, meanwhile
}

func (d *doubtful) Claim(ctx context.Context, id, node string, now time.Time) (job core.Job, payload []byte, err error) {
	job, payload, err = d.memory.Claim(ctx, id, node, now)
	d.once.Do(func() {
		err = errors.New("the disk hangs")
		if d.cancelled {
			_, _ = d.memory.Cancel(ctx, id, now)
		}
	})
	return job, payload, err
}

func TestADoubtfulClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(r *room, _ *jobs.Options) { r.deps.Store = &doubtful{memory: r.store} })
		id := r.submit("a")
		after(5 * time.Second)
		if job := r.expect(id, core.JobDone); job.Attempt != 1 {
			t.Errorf("it is %+v", job)
		}
	})
}

func TestADoubtfulClaimOfWhatIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(r *room, opts *jobs.Options) {
			opts.MaxQueued = 1
			r.deps.Store = &doubtful{memory: r.store, cancelled: true}
		})
		id := r.submit("a")
		after(time.Second)
		r.expect(id, core.JobCancelled)
		if got := r.life(id); got != "queued cancelled" {
			t.Errorf("told: %s", got)
		}
		r.submit("a") // as none waits
	})
}

// TestALostJob is another foreman's by now: the target's work on it is over.
func TestALostJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(r *room, _ *jobs.Options) {
			r.store.breaks(func(method string) error {
				if method == "Working" {
					return core.ErrJobConflict
				}
				return nil
			})
		})
		r.answers(counts(100))
		id := r.submit("a")
		after(2 * time.Second)
		if r.running != 0 || strings.Contains(r.life(id), "failed") {
			t.Errorf("%d run; told: %s", r.running, r.life(id))
		}
	})
}

// TestTheStoreFails, with each of its methods, for a while.
func TestTheStoreFails(t *testing.T) {
	for _, method := range []string{"Recover", "Expired", "Cancelled", "Heads", "Claim", "Working", "Finish", "PutBack", "Get", "Counts", "Forget"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				r := open(t, func(r *room, _ *jobs.Options) {
					r.store.breaks(func(m string) error {
						if m != method {
							return nil
						}
						calls++
						return errors.New("disk full")
					})
				})
				r.answers(says(500, ""))
				id := r.submit("a")
				after(1500 * time.Millisecond)
				r.answers(says(200, "{}"))
				after(2 * time.Minute)
				if calls == 0 || calls > 500 {
					t.Errorf("%d calls in two minutes", calls)
				}
				r.store.breaks(nil)
				after(2 * time.Minute)
				r.expect(id, core.JobDone)
				if logged := r.log.String(); !strings.Contains(logged, "disk full") || strings.Count(logged, "\n") > 30 {
					t.Errorf("the log is\n%s", logged)
				}
			})
		})
	}
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		id := r.submit("a")
		after(23 * time.Hour)
		r.expect(id, core.JobDone)
		after(2 * time.Hour)
		if _, err := r.Get(t.Context(), id); !errors.Is(err, core.ErrNoJob) {
			t.Errorf("after its time: %v", err)
		}
	})
}
