package api_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

func TestClientSubmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		f := start(t, tiny(), nil, s.options)
		client := asks(f, "")
		expires := time.Now().UTC().Add(1500 * time.Millisecond)
		request := core.JobRequest{
			Path: "/v1/embeddings", Model: "tiny", Body: []byte(asksTiny), Priority: core.PriorityLow,
			Webhook: "http://example.com/?a=1&b=2", IdempotencyKey: "k", ExpiresAt: &expires,
		}
		for range 2 {
			if id, err := client.Submit(t.Context(), request); id != "J1" || err != nil {
				t.Errorf("%q, %v", id, err)
			}
		}
		if diff := cmp.Diff(request, s.asked["J1"]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		plain := core.JobRequest{Path: "/api/chat", Model: "tiny", Body: []byte(asksTiny)}
		if id, err := client.Submit(t.Context(), plain); id != "J2" || err != nil {
			t.Errorf("%q, %v", id, err)
		}
		if diff := cmp.Diff(plain, s.asked["J2"]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		plain.Body = []byte(`{"model":"tiny2"}`)
		_, err := client.Submit(t.Context(), plain)
		want := &api.Refusal{Status: 404, Sentence: "model 'tiny2' not found; did you mean 'tiny:latest'?"}
		if refused, _ := errors.AsType[*api.Refusal](err); !cmp.Equal(refused, want) || err.Error() != want.Sentence {
			t.Errorf("%v", err)
		}
	})
}

func TestClientAsksAboutAJob(t *testing.T) {
	waits := core.Job{ID: "wait", State: core.JobQueued, Model: "tiny", Priority: core.PriorityHigh, CreatedAt: morning, Attempts: []core.Attempt{
		{At: morning, EndedAt: morning, Reason: core.ReasonRefused, Error: "refused"},
	}}
	s := newShelf(waits, core.Job{ID: "bad", State: core.JobFailed}, core.Job{ID: "done", State: core.JobDone})
	big := strings.Repeat("x", 3<<20)
	s.results["bad"] = core.JobResult{Status: 500, ContentType: "text/plain", Body: []byte("{}\x00\xff")}
	s.results["done"] = core.JobResult{Status: 200, ContentType: "text/plain", Body: []byte(big)}
	f := start(t, tiny(), nil, s.options)
	client, ctx := asks(f, ""), t.Context()
	if got, err := client.Job(ctx, "wait"); err != nil || !cmp.Equal(got, waits) {
		t.Errorf("%v: %s", err, cmp.Diff(waits, got))
	}
	if got, err := client.Cancel(ctx, "wait"); err != nil || got.State != core.JobCancelled {
		t.Errorf("cancelled: %v, %v", got.State, err)
	}
	if got, err := client.Retry(ctx, "bad"); err != nil || got.State != core.JobQueued {
		t.Errorf("tried again: %v, %v", got.State, err)
	}
	for id, want := range map[string]string{"bad": "{}\x00\xff", "done": big} {
		var result strings.Builder
		status, err := client.Result(ctx, id, &result)
		if err != nil || status != s.results[id].Status || result.String() != want {
			t.Errorf("the result of %s: %d, %d bytes, %v", id, status, result.Len(), err)
		}
	}
	refusals := map[int]error{}
	_, refusals[409] = client.Result(ctx, "wait", nil)
	_, refusals[404] = client.Job(ctx, "done/result")
	for status, err := range refusals {
		if refused, ok := errors.AsType[*api.Refusal](err); !ok || refused.Status != status {
			t.Errorf("%d: %v", status, err)
		}
	}
	if _, err := client.Retry(ctx, "done"); err == nil || err.Error() != "job done is done: only one that failed or was cancelled can be tried again" {
		t.Errorf("%v", err)
	}
}

func TestClientOfJobsWithoutADaemon(t *testing.T) {
	f := start(t, tiny(), nil, newShelf(core.Job{ID: "J1", State: core.JobWorking}).options, withTokens)
	calls := func(c *api.Client) map[string]error {
		errs, ctx := map[string]error{}, t.Context()
		_, errs["Submit"] = c.Submit(ctx, core.JobRequest{Path: "/api/chat"})
		_, errs["Jobs"] = c.Jobs(ctx, core.JobQuery{})
		_, errs["Job"] = c.Job(ctx, "J1")
		_, errs["Cancel"] = c.Cancel(ctx, "J1")
		_, errs["Retry"] = c.Retry(ctx, "J1")
		_, errs["Queue"] = c.Queue(ctx)
		_, errs["Result"] = c.Result(ctx, "J1", io.Discard)
		for _, err := range c.JobEvents(ctx, "J1") {
			errs["JobEvents"] = err
		}
		return errs
	}
	for call, err := range calls(asks(f, "wrong")) {
		if !errors.Is(err, api.ErrNotAllowed) {
			t.Errorf("%s with a wrong token: %v", call, err)
		}
	}
	f.stop()
	<-f.stopped
	for call, err := range calls(asks(f, "bob secret")) {
		if !errors.Is(err, api.ErrNoDaemon) {
			t.Errorf("%s without a daemon: %v", call, err)
		}
	}
}
