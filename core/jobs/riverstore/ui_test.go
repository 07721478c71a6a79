package riverstore_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs/riverstore"
)

// pages are River's pages over a store.
type pages struct {
	t *testing.T
	http.Handler
}

func openPages(t *testing.T, s *riverstore.Store) pages {
	t.Helper()
	handler, err := s.UI("/jobs/ui", quiet)
	if err != nil {
		t.Fatal(err)
	}
	return pages{t, handler}
}

func (p pages) ask(method, path string) (int, string) {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(p.t.Context(), method, "/jobs/ui"+path, strings.NewReader(`{"ids":["1"]}`)))
	return w.Code, w.Body.String()
}

// shown is what the pages say of a job, as "state attempt error…".
func (p pages) shown(id string) string {
	p.t.Helper()
	for _, state := range []string{"available", "retryable", "running", "completed", "discarded", "cancelled"} {
		_, body := p.ask("GET", "/api/jobs?limit=100&state="+state)
		var list struct {
			Data []struct {
				ID    json.Number
				Args  string
				State string
			}
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			p.t.Fatalf("%v: %s", err, body)
		}
		for _, listed := range list.Data {
			if !strings.Contains(listed.Args, id) {
				continue
			}
			var job struct {
				State   string
				Attempt int
				Errors  []struct{ Error string }
			}
			_, body := p.ask("GET", "/api/jobs/"+listed.ID.String())
			if err := json.Unmarshal([]byte(body), &job); err != nil {
				p.t.Fatalf("%v: %s", err, body)
			}
			text := fmt.Sprint(job.State, " ", job.Attempt)
			for _, e := range job.Errors {
				text += ", " + e.Error
			}
			return text
		}
	}
	return "nothing"
}

// TestUIFollows goes through a job's life.
func TestUIFollows(t *testing.T) {
	s := open(t, t.TempDir())
	p, now, ctx := openPages(t, s), time.Now(), t.Context()
	attempt := func(counts bool, problem string) core.Attempt {
		return core.Attempt{At: now, EndedAt: now, Counts: counts, Error: problem}
	}
	id := insert(t, s, "tiny").ID
	other := insert(t, s, "tiny").ID
	claim := func() error { _, _, err := s.Claim(ctx, id, node, now.Add(time.Hour)); return err }
	fine := attempt(true, "")
	for _, step := range []struct {
		name string
		do   func() error
		want string
	}{
		{"Insert", func() error { return nil }, "available 0"},
		{"Claim", claim, "running 1"},
		{"Working", func() error { return s.Working(ctx, id, node) }, "running 1"},
		{"PutBack", func() error {
			_, err := s.PutBack(ctx, id, node, attempt(false, "away"), now.Add(time.Minute))
			return err
		}, "retryable 0, away"},
		{"Heads", func() error { _, _, err := s.Heads(ctx, now.Add(time.Hour), 1); return err }, "available 0, away"},
		{"Claim", claim, "running 1, away"},
		{"Recover", func() error { _, err := s.Recover(ctx, node, now); return err }, "available 0, away, foreman ended before the target had answered"},
		{"Fail", func() error { return s.Fail(ctx, id, "gone", now) }, "discarded 0, away, foreman ended before the target had answered, gone"},
		{"Retry", func() error { _, err := s.Retry(ctx, id, now); return err }, "available 0, away, foreman ended before the target had answered, gone"},
		{"Cancel", func() error { _, err := s.Cancel(ctx, id, now); return err }, "cancelled 0, away, foreman ended before the target had answered, gone"},
		{"Retry", func() error { _, err := s.Retry(ctx, id, now); return err }, "available 0, away, foreman ended before the target had answered, gone"},
		{"Claim", claim, "running 1, away, foreman ended before the target had answered, gone"},
		{"Finish", func() error { return s.Finish(ctx, id, node, core.JobDone, "", &fine, nil) }, "completed 1, away, foreman ended before the target had answered, gone"},
		{"Forget", func() error { _, err := s.Forget(ctx, now.Add(time.Hour)); return err }, "nothing"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := p.shown(id); got != step.want {
			t.Errorf("after %s River shows %q, want %q", step.name, got, step.want)
		}
	}
	if got := p.shown(other); got != "available 0" {
		t.Errorf("River shows %q of the other", got)
	}
}

func TestUIChangesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	p, job := openPages(t, s), insert(t, s, "tiny")
	for _, route := range []string{
		"POST /api/jobs/cancel", "POST /api/jobs/delete", "POST /api/jobs/retry",
		"PUT /api/queues/foreman-tiny/pause", "PUT /api/queues/foreman-tiny/resume", "PATCH /api/queues/foreman-tiny",
	} {
		method, path, _ := strings.Cut(route, " ")
		if code, body := p.ask(method, path); code != http.StatusMethodNotAllowed || !strings.Contains(body, "foreman jobs cancel") {
			t.Errorf("%s: %d %s", route, code, body)
		}
	}
	if got := p.shown(job.ID); got != "available 0" {
		t.Errorf("River shows %q", got)
	}
	got, err := s.Get(t.Context(), job.ID)
	if diff := cmp.Diff(job, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestUIShowsItsIcon: with nosniff, browsers go by the type alone.
func TestUIShowsItsIcon(t *testing.T) {
	p := openPages(t, open(t, t.TempDir()))
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/jobs/ui/icon.svg", nil))
	if diff := cmp.Diff([]string{"image/svg+xml"}, w.Result().Header["Content-Type"]); w.Code != 200 || diff != "" {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
}

func TestUIShows(t *testing.T) {
	s := open(t, t.TempDir())
	p, job := openPages(t, s), insert(t, s, "tiny")
	if _, _, err := s.Insert(t.Context(), job, nil); err == nil {
		t.Error("two jobs have one ID")
	}
	for path, want := range map[string]string{
		"/":                                  `src="/jobs/ui/assets/`,
		"/jobs/1":                            `src="/jobs/ui/assets/`,
		"/api/states":                        `"available":{"accuracy":"exact","count":1`,
		"/api/queues?limit=10":               `"count_available":1,"count_running":0`,
		"/api/jobs?limit=10&state=available": `\"path\":\"/api/chat\"`,
		"/api/autocomplete?facet=queue_name": `foreman-tiny-latest-`,
	} {
		code, body := p.ask("GET", path)
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, without %s: %s", path, code, want, body)
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s shows the payload: %s", path, body)
		}
	}
}
