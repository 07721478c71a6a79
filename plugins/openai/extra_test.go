package openai

import (
	"net/http"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

var extras = []string{"/props", "/version", "/api/v0/models"}

// ask makes every question that b has.
func ask(t *testing.T, b *Backend) {
	t.Helper()
	mustProbe(t, b)
	mustRunning(t, b)
}

// What a server doesn't have is no fault, however it says so, and isn't asked
// for at each look.
func TestExtrasThatAreAbsent(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	body := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"400": status(400), "401": status(401), "403": status(403), "404": status(404), "405": status(405),
		"redirect":        http.RedirectHandler("/login", http.StatusFound).ServeHTTP,
		"web page":        body("<!doctype html><title>chat</title>"),
		"text":            body("ok"),
		"nothing":         body(""),
		"200 and error":   body(`{"error":"Unexpected endpoint or method. (GET /x)"}`),
		"another object":  body(`{"status":"ok"}`),
		"models, no more": body(`{"object":"list","models":[]}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.say("/v1/models", 200, `{"object":"list","data":[{"id":"a"}]}`)
			s.other = answer
			b := configured(t, core.Settings{URL: s.url})
			ask(t, b)
			for _, path := range extras {
				if n := s.timesAsked(path); n != 1 {
					t.Errorf("asked %d times for %s at first", n, path)
				}
			}
			ask(t, b)
			for _, path := range extras {
				if n := s.timesAsked(path); n != 0 {
					t.Errorf("asked %d times for %s, which is known to be absent", n, path)
				}
			}
			for _, e := range []*extra{&b.props, &b.version, &b.studio} {
				long := time.Now().Add(-absentFor)
				e.absent.Store(&long)
			}
			ask(t, b)
			for _, path := range extras {
				if n := s.timesAsked(path); n != 1 {
					t.Errorf("asked %d times for %s after a while", n, path)
				}
			}
		})
	}
}

// An answer that may be another one soon is no fault either, but isn't
// remembered.
func TestExtrasThatPass(t *testing.T) {
	for _, code := range []int{408, 429, 500, 502, 503} {
		s := newServer(t)
		s.say("/v1/models", 200, `{"object":"list","data":[{"id":"a"}]}`)
		s.other = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
		b := configured(t, core.Settings{URL: s.url})
		ask(t, b)
		ask(t, b)
		for _, path := range extras {
			if n := s.timesAsked(path); n != 2 {
				t.Errorf("%d: asked %d times for %s, want 2", code, n, path)
			}
		}
	}
}

// The list that is LM Studio's may be there without what is wanted of it.
func TestListWithoutStates(t *testing.T) {
	s := newServer(t)
	s.say("/v1/models", 200, `{"object":"list","data":[{"id":"a"},{"id":"b"}]}`)
	s.say("/api/v0/models", 200, `{"object":"list","data":[{"id":"a"},{"id":"b"}]}`)
	b := configured(t, core.Settings{URL: s.url})
	for range 2 {
		if got := mustRunning(t, b); len(got) != 0 {
			t.Errorf("%d residents", len(got))
		}
	}
	if n := s.timesAsked("/api/v0/models"); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// A target that doesn't answer at all isn't asked the next question.
func TestNoAnswerIsAFault(t *testing.T) {
	probe := func(b *Backend) error { _, err := b.Probe(t.Context()); return err }
	running := func(b *Backend) error { _, err := b.Running(t.Context()); return err }
	for _, tt := range []struct {
		path   string
		models string // of /v1/models
		look   func(*Backend) error
	}{
		{"/props", `[{"id":"a"}]`, probe},
		{"/version", `[{"id":"a"}]`, probe},
		{"/props", `[{"id":"a","owned_by":"llamacpp"}]`, running},
		{"/api/v0/models", `[{"id":"a"}]`, running},
	} {
		s := newServer(t)
		s.say("/v1/models", 200, `{"object":"list","data":`+tt.models+`}`)
		s.answer(tt.path, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		err := tt.look(configured(t, core.Settings{URL: s.url}))
		if err == nil {
			t.Errorf("%s: no fault", tt.path)
			continue
		}
		fault := core.FaultOf(err)
		want := core.Fault{Reason: core.ReasonReset, Detail: "GET " + s.url + tt.path + ": connection closed before an answer"}
		if *fault != want {
			t.Errorf("%s: %+v", tt.path, *fault)
		}
		if tt.path == "/props" && s.timesAsked("/version") != 0 {
			t.Errorf("%s: asked on", tt.path)
		}
	}
}
