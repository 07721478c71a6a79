package jobs_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

func TestAJobIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		const body = "{\"a\":\x00 \"byte\"}\n"
		r.answers(says(200, body))
		id := r.submit("a", func(q *core.JobRequest) {
			q.Caller, q.Path, q.Body = "anna", "/v1/chat/completions", []byte(`{ "model":"a" }`)
		})
		after(500 * time.Millisecond)
		if job := r.expect(id, core.JobLoading); job.Attempt != 1 || job.Caller != "anna" || job.Position != nil {
			t.Errorf("while it loads it is %+v", job)
		}
		after(time.Second)
		job := r.expect(id, core.JobDone)
		if job.Status != 200 || job.Attempt != 1 || len(job.Attempts) != 1 || job.EndedAt.Sub(*job.StartedAt) != time.Second {
			t.Errorf("it is %+v", job)
		}
		result, err := r.Result(t.Context(), id)
		want := core.JobResult{Status: 200, ContentType: "application/json", Body: []byte(body)}
		if diff := cmp.Diff(want, result); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		works, _ := r.came()
		asked := []core.Work{{Path: "/v1/chat/completions", Body: []byte(`{ "model":"a" }`)}}
		if diff := cmp.Diff(asked, works); diff != "" {
			t.Errorf("the target was asked (-want +got):\n%s", diff)
		}
		if got := r.life(id); got != "queued loading working done" {
			t.Errorf("told: %s", got)
		}
	})
}

func TestSubmitRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(r *room, opts *jobs.Options) { opts.MaxQueued = 2 })
		r.looks(core.Degraded)
		for _, key := range []string{"1", "2"} {
			r.submit("a", func(q *core.JobRequest) { q.IdempotencyKey = key })
		}
		for name, c := range map[string]struct {
			request core.JobRequest
			want    error
		}{
			"a third":   {core.JobRequest{Model: "a"}, core.ErrJobsFull},
			"a webhook": {core.JobRequest{Model: "a", Webhook: "http://b"}, core.ErrNoWebhooks},
		} {
			if _, _, err := r.Submit(t.Context(), c.request); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		page, _, err := r.List(t.Context(), core.JobQuery{Limit: 5})
		if err != nil || len(page) != 2 || *page[0].Position != 2 || *page[1].Position != 1 {
			t.Fatalf("listed are %+v, %v", page, err)
		}
		if _, err := r.Cancel(t.Context(), page[1].ID); err != nil {
			t.Fatal(err)
		}
		r.submit("a")
		secure, l := openWithWebhooks(t, func(r *room, _ *jobs.Options) { r.deps.Private = false })
		for _, address := range []string{"http://example.com/", "HTTP://example.com/"} {
			request := core.JobRequest{Model: "a", Webhook: address}
			if _, _, err := secure.Submit(t.Context(), request); !errors.Is(err, core.ErrPlainWebhook) {
				t.Errorf("%s: %v", address, err)
			}
		}
		secure.submit("a", to("https://example.com/"))
		after(time.Minute)
		if got, _ := l.got("https://example.com/"); got != "queued loading working done" {
			t.Errorf("told: %s", got)
		}
		if _, err := r.Jobs.Get(t.Context(), "none"); !errors.Is(err, core.ErrNoJob) {
			t.Errorf("Get of none: %v", err)
		}
	})
}

func TestASecondSubmitIsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		request := core.JobRequest{Path: "/api/chat", Model: "a", Body: []byte(`{}`), IdempotencyKey: "k"}
		first, _, err := r.Submit(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		again, known, err := r.Submit(t.Context(), request)
		if err != nil || !known || again.ID != first.ID {
			t.Errorf("the second is %s of %s, known %t, %v", again.ID, first.ID, known, err)
		}
		after(time.Minute)
		if works, _ := r.came(); len(works) != 1 {
			t.Errorf("the target was asked %d times", len(works))
		}
		if got := r.life(first.ID); got != "queued loading working done" {
			t.Errorf("told: %s", got)
		}
	})
}

// TestAKnownJob is told of though no other would be taken.
func TestAKnownJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(_ *room, opts *jobs.Options) { opts.MaxQueued = 1 })
		r.turns.take()
		request := core.JobRequest{Path: "/api/chat", Model: "a", Body: []byte(`{}`), Caller: "anna", IdempotencyKey: "k"}
		first, _, err := r.Submit(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		again, known, err := r.Known(t.Context(), request)
		if err != nil || !known || !cmp.Equal(again, first) {
			t.Errorf("it is %+v, known %t, %v", again, known, err)
		}
		request.Body = []byte(`[]`)
		if _, _, err := r.Known(t.Context(), request); !errors.Is(err, core.ErrJobConflict) {
			t.Errorf("another body: %v", err)
		}
		request.Caller = "bert"
		if _, known, err := r.Known(t.Context(), request); known || err != nil {
			t.Errorf("another caller: known %t, %v", known, err)
		}
	})
}

// TestManyJobs has more of them than there are heads, put in at any moment.
func TestManyJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		var ids []string
		for i := range 90 {
			ids = append(ids, r.submit([]string{"a", "b", "c"}[i%3], func(q *core.JobRequest) { q.Priority = core.Priority(i%2 - 1) }))
			if i%7 == 0 {
				after(300 * time.Millisecond)
			}
		}
		after(91 * time.Second)
		for _, id := range ids {
			r.expect(id, core.JobDone)
		}
		if works, _ := r.came(); len(works) != 90 || r.most != 1 {
			t.Errorf("the target was asked %d times, %d at a time", len(works), r.most)
		}
	})
}

// TestNothingIdles: the next jobs of a model are there when one ends.
func TestNothingIdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.turns.take()
		for range 20 {
			r.submit("a")
			after(time.Millisecond)
		}
		after(time.Second)
		r.turns.give()
		for range 16 {
			after(time.Second)
			r.turns.mu.Lock()
			if n := len(r.turns.waiting); n != 3 {
				t.Errorf("%d jobs wait for a turn, of many", n)
			}
			r.turns.mu.Unlock()
		}
	})
}

// lagging reads who is next, and needs some time to say so.
type lagging struct{ *memory }

func (l lagging) Heads(ctx context.Context, now time.Time, limit int) ([]core.Job, time.Time, error) {
	heads, next, err := l.memory.Heads(ctx, now, limit)
	time.Sleep(100 * time.Millisecond) // in the bubble
	return heads, next, err
}

// TestALaggingStore says what isn't so any more.
func TestALaggingStore(t *testing.T) {
	lag := func(r *room, _ *jobs.Options) { r.deps.Store = lagging{r.store} }
	t.Run("of jobs that have ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, lag)
			r.answers(func(_ context.Context, _ core.Work, sink core.Sink) error {
				sink.Begin(200, "")
				return nil
			})
			var ids []string
			for range 40 {
				ids = append(ids, r.submit("a"))
				after(17 * time.Millisecond)
			}
			after(10 * time.Second)
			for _, id := range ids {
				r.expect(id, core.JobDone)
				if n := r.turns.came[id]; n != 1 {
					t.Errorf("it asked for a turn %d times", n)
				}
			}
		})
	})
	t.Run("of jobs that are new", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, lag)
			for i := range 100 {
				r.submit("a")
				after(time.Duration(i%13) * 10 * time.Millisecond)
			}
			after(101 * time.Second)
			if counts, err := r.Counts(t.Context()); err != nil || counts[core.JobDone] != 100 {
				t.Errorf("counts are %v, %v", counts, err)
			}
		})
	})
}

// TestQueuedIsToldFirst though the job's turn comes at once.
func TestQueuedIsToldFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.restart(func(deps *jobs.Deps) {
			tell := deps.Tell
			deps.Tell = func(e core.Event) {
				if e.Type == core.EventJobQueued {
					time.Sleep(time.Second) // in the bubble
				}
				tell(e)
			}
		})
		ids := make(chan string)
		go func() { ids <- r.submit("a") }()
		after(500 * time.Millisecond)
		r.submit("b") // has the store looked at
		id := <-ids
		after(time.Minute)
		if got := r.life(id); got != "queued loading working done" {
			t.Errorf("told: %s", got)
		}
		if _, err := r.Cancel(t.Context(), id); !errors.Is(err, core.ErrJobConflict) {
			t.Errorf("Cancel: %v", err)
		}
	})
}

func TestHowManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(_ *room, opts *jobs.Options) { opts.MaxQueued = 2 })
		for range 10 {
			r.submit("a")
			after(2 * time.Second)
		}
		r.turns.take()
		for range 2 { // by another node
			job := core.Job{ID: ulid.Make().String(), State: core.JobQueued, Model: "b", CreatedAt: time.Now()}
			if _, _, err := r.store.Insert(t.Context(), job, nil); err != nil {
				t.Fatal(err)
			}
		}
		after(time.Minute)
		if _, _, err := r.Submit(t.Context(), core.JobRequest{Model: "a"}); !errors.Is(err, core.ErrJobsFull) {
			t.Errorf("Submit: %v", err)
		}
	})
}

// TestPin: the model stays loaded while more work for it waits, and no longer.
func TestPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.submit("a")
		r.submit("b")
		r.submit("A:latest")
		r.submit("a")
		after(time.Minute)
		works, _ := r.came()
		var pinned []bool
		for _, work := range works {
			pinned = append(pinned, work.Pin)
		}
		if want := []bool{true, false, true, false}; !cmp.Equal(pinned, want) {
			t.Errorf("pinned: %v, want %v", pinned, want)
		}
	})
}

// TestOptionsChange: the service takes them up while it runs.
func TestOptionsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(says(500, ""))
		id := r.submit("a")
		after(500 * time.Millisecond)
		changed := options
		changed.MaxAttempts, changed.MaxQueued = 1, 0
		r.Set(changed)
		after(time.Second)
		if job := r.expect(id, core.JobFailed); job.Attempt != 1 {
			t.Errorf("it failed at attempt %d", job.Attempt)
		}
		if _, _, err := r.Submit(t.Context(), core.JobRequest{Model: "a"}); !errors.Is(err, core.ErrJobsFull) {
			t.Errorf("Submit: %v", err)
		}
	})
}

// TestBesideEachOther has a model that takes three requests at a time.
func TestBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, func(r *room, opts *jobs.Options) { opts.Parallel, r.turns.free = 3, 3 })
		for range 30 {
			r.submit("a")
		}
		after(10500 * time.Millisecond)
		if works, _ := r.came(); len(works) != 30 || r.most != 3 {
			t.Errorf("%d were asked, %d at a time", len(works), r.most)
		}
	})
}
