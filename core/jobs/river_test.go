package jobs_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
	"github.com/seed-af7fee88/foreman/core/jobs/riverstore"
)

// TestOnDisk is on the real store: foreman is stopped in the middle of its jobs
// and started again.
func TestOnDisk(t *testing.T) {
	dir := t.TempDir()
	g := newTarget()
	var mu sync.Mutex
	ended := map[string]string{} // states by job
	over := make(chan struct{}, 100)
	begin := func() (*jobs.Jobs, func()) {
		store, err := riverstore.Open(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		j := jobs.New(jobs.Deps{
			Store: store, Node: "n", Acquire: newTurns().acquire, Do: g.do, Probe: g.probe, Find: g.find, Target: g.watch,
			Tell: func(e core.Event) {
				if e.Type != core.EventJobDone {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				ended[string(e.Data)] += string(e.Type)
				over <- struct{}{}
			},
		}, options, slog.New(slog.NewTextHandler(t.Output(), nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		return j, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	quick := func(_ context.Context, _ core.Work, sink core.Sink) error {
		sink.Begin(200, "application/json")
		_, err := sink.Write([]byte("{\"done\":\x00true}"))
		return err
	}
	wait := func(n int) {
		for range n {
			select {
			case <-over:
			case <-time.After(20 * time.Second):
				t.Fatal("a job doesn't end")
			}
		}
	}

	j, stop := begin()
	g.answers(quick)
	var ids []string
	submit := func(n int) {
		for i := range n {
			job, _, err := j.Submit(t.Context(), core.JobRequest{Path: "/api/chat", Model: []string{"a", "b", "c"}[i%3], Body: []byte(`{}`)})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, job.ID)
		}
	}
	submit(3)
	wait(3)
	hangs := make(chan struct{})
	g.answers(func(ctx context.Context, _ core.Work, sink core.Sink) error {
		sink.Begin(200, "")
		close(hangs)
		<-ctx.Done()
		return ctx.Err()
	})
	submit(6)
	<-hangs
	stop()
	g.answers(quick)
	j, stop = begin()
	defer func() { stop() }()
	submit(1)
	wait(7)
	for _, id := range ids {
		job, err := j.Get(t.Context(), id)
		if err != nil || job.State != core.JobDone || job.Attempt != 1 {
			t.Errorf("%+v, %v", job, err)
		}
		if result, err := j.Result(t.Context(), id); err != nil || string(result.Body) != "{\"done\":\x00true}" {
			t.Errorf("the result is %q, %v", result.Body, err)
		}
	}
	if len(ended) != len(ids) {
		t.Errorf("%d ends were told, of %d", len(ended), len(ids))
	}
}
