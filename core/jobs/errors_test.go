package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

func TestErrorsOfTheTarget(t *testing.T) {
	breaks := func(said string) func(context.Context, core.Work, core.Sink) error {
		return func(_ context.Context, _ core.Work, sink core.Sink) error {
			sink.Begin(200, "application/x-ndjson")
			_, _ = sink.Write([]byte(said))
			return &core.Fault{Reason: core.ReasonTruncated, Detail: "the stream ended early"}
		}
	}
	for name, c := range map[string]struct {
		answer   func(context.Context, core.Work, core.Sink) error
		attempts int
		error    string
		result   string // "" for none
	}{
		"500":                  {says(500, `{"error":"out of memory"}`), 3, "the target answered 500: out of memory", `{"error":"out of memory"}`},
		"503":                  {says(503, `busy`), 3, "the target answered 503", `busy`},
		"429":                  {says(429, `{"error":{"message":"too\nmany"}}`), 3, "the target answered 429: too many", `{"error":{"message":"too\nmany"}}`},
		"a stream that breaks": {breaks("{}\n"), 3, "the target broke off: the stream ended early", ""},
		"an error in a stream": {says(200, "{\"done\":false}\n{\"error\":\"CUDA\"}\n"), 3, "the target broke off: CUDA", "{\"done\":false}\n{\"error\":\"CUDA\"}\n"},
		"an error in an event": {says(200, "data: {}\n\ndata: {\"error\":{\"message\":\"CUDA\"}}\n\n"), 3, "the target broke off: CUDA", "data: {}\n\ndata: {\"error\":{\"message\":\"CUDA\"}}\n\n"},
		"what obeys":           {says(500, `{"error":"a\u001b[31mb\u0007\u202ec\u0000\nd"}`), 3, "the target answered 500: a [31mb c d", `{"error":"a\u001b[31mb\u0007\u202ec\u0000\nd"}`},
		"400":                  {says(400, `{"error":"bad"}`), 1, "the target answered 400: bad", `{"error":"bad"}`},
		"422":                  {says(422, `<html>`), 1, "the target answered 422", `<html>`},
		"a redirect":           {says(302, ``), 1, "the target answered 302", ``},
		"a redirect that no one follows": {func(context.Context, core.Work, core.Sink) error {
			return &core.Fault{Reason: core.ReasonRedirect, Detail: "the target answered a redirect"}
		}, 3, "the target answered a redirect", ""},
		"404 of what isn't one": {says(404, `no route`), 3, "the target answered 404", `no route`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				r.answers(c.answer)
				id := r.submit("a")
				after(time.Minute)
				job := r.expect(id, core.JobFailed)
				if job.Attempt != c.attempts || len(job.Attempts) != c.attempts || job.Error != c.error {
					t.Errorf("after attempt %d: %q, want %d: %q", job.Attempt, job.Error, c.attempts, c.error)
				}
				result, err := r.Result(t.Context(), id)
				if string(result.Body) != c.result || (err != nil) != (c.result == "" && name != "a redirect") {
					t.Errorf("the result is %q, %v", result.Body, err)
				}
				if failed := r.turns.failed; failed != c.attempts && c.attempts > 1 || failed > 0 && c.attempts == 1 {
					t.Errorf("the scheduler heard of %d errors", failed)
				}
				_, at := r.came()
				for i := 1; i < len(at); i++ {
					if pause := at[i].Sub(at[i-1]); pause < 500*time.Millisecond || pause > 4*time.Second {
						t.Errorf("attempt %d came %s after the one before", i+1, pause)
					}
				}
			})
		})
	}
}

// TestForemansOwnSleep breaks an attempt that isn't held against the job.
func TestForemansOwnSleep(t *testing.T) {
	reset := &core.Fault{Reason: core.ReasonReset, Detail: "connection reset by peer"}
	for _, c := range []struct {
		slept time.Duration
		want  core.Attempt
	}{
		{0, core.Attempt{Reason: core.ReasonReset, Error: "connection reset by peer", Counts: true}},
		{-time.Hour, core.Attempt{Reason: core.ReasonReset, Error: "connection reset by peer", Counts: true}},
		{4 * time.Second, core.Attempt{Reason: core.ReasonReset, Error: "connection reset by peer", Counts: true}},
		{5 * time.Second, core.Attempt{Reason: "slept", Error: "foreman's machine slept for 5s: connection reset by peer"}},
		{time.Hour, core.Attempt{Reason: "slept", Error: "foreman's machine slept for 1h0m0s: connection reset by peer"}},
	} {
		state, attempt, away := jobs.JudgeBreak(core.Job{Attempt: 2}, &options, reset, c.slept)
		attempt.At, attempt.EndedAt = time.Time{}, time.Time{}
		if diff := cmp.Diff(c.want, attempt); diff != "" || state != core.JobQueued || away {
			t.Errorf("%s: %s, away %t (-want +got):\n%s", c.slept, state, away, diff)
		}
	}
	if state, _, _ := jobs.JudgeBreak(core.Job{Attempt: 3}, &options, reset, time.Hour); state != core.JobQueued {
		t.Errorf("the last attempt leaves it %s", state)
	}
}

func TestASecondAttemptSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(says(500, ""))
		id := r.submit("a")
		after(1100 * time.Millisecond)
		r.answers(says(200, "{}"))
		after(time.Minute)
		job := r.expect(id, core.JobDone)
		if job.Attempt != 2 || job.Error != "" || job.Attempts[0].Reason != core.StatusReason(500) {
			t.Errorf("it is %+v", job)
		}
		if got := r.life(id); got != "queued loading working queued loading working done" {
			t.Errorf("told: %s", got)
		}
	})
}

func TestAnAnswerTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(func(_ context.Context, _ core.Work, sink core.Sink) error {
			sink.Begin(200, "")
			for chunk := make([]byte, 1<<20); ; {
				if _, err := sink.Write(chunk); err != nil {
					return fmt.Errorf("write the answer: %w", err)
				}
			}
		})
		id := r.submit("a")
		after(time.Minute)
		if job := r.expect(id, core.JobFailed); !strings.Contains(job.Error, "64 MiB") || job.Attempt != 1 {
			t.Errorf("attempt %d: %q", job.Attempt, job.Error)
		}
	})
}

func TestAModelVanishes(t *testing.T) {
	const gone = "model 'a' not found; pull it"
	t.Run("while the job waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, nil)
			r.turns.take()
			ids := []string{r.submit("a"), r.submit("a"), r.submit("a"), r.submit("a"), r.submit("a")}
			other := r.submit("b")
			after(time.Hour)
			r.looks(core.Healthy, "b")
			after(time.Second)
			for _, id := range ids {
				if job := r.expect(id, core.JobFailed); job.Error != gone || len(job.Attempts) != 0 {
					t.Errorf("%d attempts: %q", len(job.Attempts), job.Error)
				}
			}
			r.expect(other, core.JobQueued)
		})
	})
	t.Run("for a moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, nil)
			r.turns.take()
			id := r.submit("a")
			after(time.Minute)
			r.looks(core.Healthy, "b")
			r.target.mu.Lock()
			r.models = []string{"a", "b"} // as the grace re-check finds
			r.target.mu.Unlock()
			after(time.Minute)
			r.turns.give()
			after(time.Minute)
			r.expect(id, core.JobDone)
		})
	})
	t.Run("at its turn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, nil)
			r.answers(func(ctx context.Context, w core.Work, sink core.Sink) error {
				r.target.mu.Lock()
				r.models = nil
				r.target.mu.Unlock()
				return says(404, `{"error":"not found"}`)(ctx, w, sink)
			})
			id := r.submit("a")
			after(time.Minute)
			if job := r.expect(id, core.JobFailed); job.Error != gone || job.Status != 404 || job.Attempt != 1 {
				t.Errorf("it is %+v", job)
			}
		})
	})
	t.Run("at its turn, and nobody can tell", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, nil)
			r.answers(func(ctx context.Context, w core.Work, sink core.Sink) error {
				r.target.mu.Lock()
				r.models, r.missing = nil, func(string) error { return errors.New("the target is away") }
				r.target.mu.Unlock()
				return says(404, "")(ctx, w, sink)
			})
			id := r.submit("a")
			after(1300 * time.Millisecond)
			if job := r.expect(id, core.JobQueued); job.Attempt != 0 || job.Error != "the target is away" {
				t.Errorf("it is %+v", job)
			}
		})
	})
	t.Run("that never was listed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, nil)
			r.target.mu.Lock()
			r.missing = func(string) error { return nil }
			r.target.mu.Unlock()
			r.turns.take()
			id := r.submit("z:cloud")
			for range 10 {
				after(30 * time.Second)
				r.looks(core.Healthy)
			}
			if n := r.turns.came[id]; n != 1 {
				t.Errorf("it asked for a turn %d times", n)
			}
			r.turns.give()
			after(2 * time.Second)
			r.expect(id, core.JobDone)
		})
	})
	t.Run("and nobody can tell", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, nil)
			r.target.mu.Lock()
			r.missing = func(string) error { return errors.New("the target is away") }
			r.target.mu.Unlock()
			id := r.submit("z")
			after(time.Hour)
			r.expect(id, core.JobQueued)
			r.looks(core.Healthy, "z")
			after(3 * time.Second)
			r.expect(id, core.JobDone)
		})
	})
}
