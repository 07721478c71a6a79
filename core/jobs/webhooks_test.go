package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

// A listener is what the webhooks lead to.
type listener struct {
	mu      sync.Mutex
	answer  func(ctx context.Context, url string) error // nil: all is well
	tried   int
	arrived map[string][]core.Event // by URL
	most    int                     // that came at a time
	busy    int
}

func (l *listener) post(ctx context.Context, url string, event core.Event) error {
	l.mu.Lock()
	l.tried++
	l.busy++
	l.most = max(l.most, l.busy)
	answer := l.answer
	l.mu.Unlock()
	var err error
	if answer != nil {
		err = answer(ctx, url)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	if err == nil {
		l.arrived[url] = append(l.arrived[url], event)
	}
	return err
}

func (l *listener) answers(answer func(ctx context.Context, url string) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer, l.tried = answer, 0
}

// got is what has arrived at url.
func (l *listener) got(url string) (states string, events []core.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	events = slices.Clone(l.arrived[url])
	var all []string
	for _, e := range events {
		all = append(all, strings.TrimPrefix(string(e.Type), "job_"))
	}
	return strings.Join(all, " "), events
}

// openWithWebhooks is a room with webhooks.
func openWithWebhooks(t *testing.T, change func(*room, *jobs.Options)) (*room, *listener) {
	l := &listener{arrived: map[string][]core.Event{}}
	return open(t, func(r *room, opts *jobs.Options) {
		r.deps.Webhook, r.deps.Private = l.post, true
		if change != nil {
			change(r, opts)
		}
	}), l
}

func to(url string) func(*core.JobRequest) {
	return func(q *core.JobRequest) { q.Webhook = url }
}

func fails(context.Context, string) error { return errors.New("connection refused") }

func TestWebhooksTellEachState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := openWithWebhooks(t, nil)
		r.answers(func(_ context.Context, _ core.Work, sink core.Sink) error { // within a millisecond
			sink.Begin(200, "")
			return nil
		})
		r.submit("a", to("http://a"))
		r.submit("a")
		after(time.Minute)
		states, events := l.got("http://a")
		if states != "queued loading working done" || len(l.arrived) != 1 {
			t.Errorf("told: %s; %d were told", states, len(l.arrived))
		}
		for i, e := range events {
			if _, err := ulid.ParseStrict(e.ID); err != nil || e.Target != "http://a:1" || i > 0 && e.ID <= events[i-1].ID {
				t.Errorf("%d: %+v, %v", i, e, err)
			}
		}
	})
}

func TestADeadWebhookHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := openWithWebhooks(t, nil)
		l.answers(func(ctx context.Context, url string) error {
			if url == "http://dead" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		r.submit("a", to("http://dead"))
		for i := range 40 {
			r.submit("a", to(fmt.Sprint("http://", i)))
		}
		after(45 * time.Second)
		for i := range 40 {
			if states, _ := l.got(fmt.Sprint("http://", i)); states != "queued loading working done" {
				t.Errorf("%d was told: %s", i, states)
			}
		}
		l.answers(nil)
		after(2 * time.Minute)
		if states, _ := l.got("http://dead"); states != "queued loading working done" {
			t.Errorf("the dead one was told: %s", states)
		}
	})
}

func TestAWebhookIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(context.Context, string) error
		tries  [2]int // least and most, for each state
		within time.Duration
	}{
		"after ten minutes": {fails, [2]int{10, 40}, 12 * time.Minute},
		"at once": {func(context.Context, string) error { return fmt.Errorf("404: %w", core.ErrUndeliverable) },
			[2]int{1, 1}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, l := openWithWebhooks(t, nil)
				l.answers(c.answer)
				r.submit("a", to("http://a"))
				after(4*c.within + 3*time.Second)
				if l.tried < 4*c.tries[0] || l.tried > 4*c.tries[1] {
					t.Errorf("%d tries", l.tried)
				}
				l.answers(nil)
				r.stop()
				r.again()
				after(time.Hour)
				if states, _ := l.got("http://a"); states != "" || l.tried != 0 {
					t.Errorf("told in the end: %s", states)
				}
				if n := strings.Count(r.log.String(), "given up"); n != 4 {
					t.Errorf("%d lines of the log say so:\n%s", n, &r.log)
				}
			})
		})
	}
}

// TestAWebhookThatFailsIsLogged once for a job, and without what may be secret.
func TestAWebhookThatFailsIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := openWithWebhooks(t, nil)
		l.answers(fails)
		r.submit("a", to("https://me:s3cret@example.com:8443/s3cret?s3cret"))
		after(5 * time.Minute)
		logged := r.log.String()
		if strings.Count(logged, "host=example.com:8443") != 1 || !strings.Contains(logged, "connection refused") || strings.Contains(logged, "s3cret") {
			t.Errorf("after %d tries the log is\n%s", l.tried, logged)
		}
	})
}

// TestEndsAreToldAfterARestart, once, with the ID that they had.
func TestEndsAreToldAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := openWithWebhooks(t, nil)
		tried := map[string]bool{} // IDs of the last event
		r.restart(func(deps *jobs.Deps) {
			post := deps.Webhook
			deps.Webhook = func(ctx context.Context, url string, e core.Event) error {
				if e.Type == core.EventJobDone {
					tried[e.ID] = true
					return errors.New("down")
				}
				return post(ctx, url, e)
			}
		})
		id := r.submit("a", to("http://a"))
		after(time.Minute)
		if states, _ := l.got("http://a"); states != "queued loading working" || len(tried) != 1 {
			t.Fatalf("told: %s; the end under %d IDs", states, len(tried))
		}
		r.stop()
		after(time.Hour)
		for range 2 {
			r.restart(func(deps *jobs.Deps) { deps.Webhook = l.post })
			after(time.Minute)
		}
		states, events := l.got("http://a")
		if states != "queued loading working done" || !tried[events[3].ID] || !events[3].At.Equal(*r.get(id).EndedAt) {
			t.Errorf("told: %s; the last is %+v, was %v", states, events[len(events)-1], tried)
		}
	})
}

// TestTooManyWebhooks: what is dropped is what comes back.
func TestTooManyWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := openWithWebhooks(t, func(_ *room, opts *jobs.Options) { opts.MaxQueued = 5000 })
		l.answers(fails)
		r.turns.take()
		var ids []string
		for i := range 1200 {
			ids = append(ids, r.submit("a", to(fmt.Sprint("http://", i))))
		}
		for _, id := range ids {
			if _, err := r.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		l.answers(func(ctx context.Context, _ string) error { return wait(ctx, 100*time.Millisecond) })
		after(20 * time.Minute)
		for i := range 1200 {
			if states, _ := l.got(fmt.Sprint("http://", i)); !strings.HasSuffix(states, "cancelled") || strings.Count(states, "cancelled") > 1 {
				t.Errorf("%d was told: %s", i, states)
			}
		}
		if l.most > 16 {
			t.Errorf("%d came at a time", l.most)
		}
	})
}

// cancelMany has so many jobs end whose webhooks can't be reached.
func cancelMany(r *room, l *listener, n int) {
	r.t.Helper()
	l.answers(fails)
	r.turns.take()
	var ids []string
	for i := range n {
		ids = append(ids, r.submit("a", to(fmt.Sprint("http://", i))))
	}
	for _, id := range ids {
		if _, err := r.Cancel(r.t.Context(), id); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestManyEndsAreToldAfterARestart: more than are read, and wait, at a time.
func TestManyEndsAreToldAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1600
		r, l := openWithWebhooks(t, func(_ *room, opts *jobs.Options) { opts.MaxQueued = 2 * n })
		cancelMany(r, l, n)
		r.stop()
		l.answers(func(ctx context.Context, _ string) error { return wait(ctx, 100*time.Millisecond) })
		r.again()
		after(time.Minute)
		for i := range n {
			if states, _ := l.got(fmt.Sprint("http://", i)); states != "cancelled" {
				t.Fatalf("%d was told: %s", i, states)
			}
		}
	})
}

func TestEndsAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := openWithWebhooks(t, nil)
		cancelMany(r, l, 1)
		r.stop()
		l.answers(nil)
		calls := 0
		r.store.breaks(func(method string) error {
			if method != "Untold" {
				return nil
			}
			calls++
			return errors.New("disk full")
		})
		r.again()
		after(10 * time.Minute)
		if calls < 2 || calls > 20 {
			t.Errorf("%d calls in ten minutes", calls)
		}
		r.store.breaks(nil)
		after(2 * time.Minute)
		if states, _ := l.got("http://0"); states != "cancelled" {
			t.Errorf("told: %s", states)
		}
	})
}

// TestTheStoreForgetsWhatWasTold: what it can't keep is told again, but not
// without a pause.
func TestTheStoreForgetsWhatWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000 // as many as are read at a time
		r, l := openWithWebhooks(t, nil)
		cancelMany(r, l, n)
		r.stop()
		l.answers(nil)
		r.store.breaks(func(method string) error {
			if method == "Told" {
				return errors.New("disk full")
			}
			return nil
		})
		r.again()
		after(10 * time.Minute)
		if l.tried > 11*n {
			t.Errorf("%d were told in ten minutes", l.tried)
		}
		r.store.breaks(nil)
		after(2 * time.Minute)
		l.answers(nil)
		after(10 * time.Minute)
		if l.tried > 0 {
			t.Errorf("%d were told once the store knew", l.tried)
		}
	})
}

// slowly reads what is untold, and returns it a while later.
type slowly struct{ *memory }

func (s slowly) Untold(ctx context.Context, limit int) ([]core.Job, error) {
	ended, err := s.memory.Untold(ctx, limit)
	return ended, errors.Join(err, wait(ctx, 10*time.Second))
}

// TestAnEndIsToldOnce, though it was read as untold before.
func TestAnEndIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := openWithWebhooks(t, nil)
		r.stop()
		r.deps.Store = slowly{r.store}
		l.answers(func(ctx context.Context, _ string) error { return wait(ctx, time.Second) })
		r.Jobs = jobs.New(r.deps, options, slog.New(slog.NewTextHandler(&r.log, nil)))
		id := r.submit("a", to("http://a"))
		if _, err := r.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		r.run()
		after(time.Minute)
		if states, _ := l.got("http://a"); states != "queued cancelled" {
			t.Errorf("told: %s", states)
		}
	})
}
