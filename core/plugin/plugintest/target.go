package plugintest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// aimAt is a backend whose target is url, in place of the good one.
func aimAt(t *testing.T, open func(*testing.T) (core.Backend, core.Settings), url string) core.Backend {
	t.Helper()
	b, settings := open(t)
	settings.URL, settings.Token = url, token
	if _, err := b.Configure(t.Context(), settings); err != nil {
		t.Fatalf("it doesn't take a target's URL: %v", err)
	}
	return b
}

// testBadTargets wants a fault of each target that nobody can list models of.
func testBadTargets(t *testing.T, open func(*testing.T) (core.Backend, core.Settings)) {
	closed := httptest.NewServer(nil)
	closed.Close()
	t.Run("refused", func(t *testing.T) { wantFaults(t, aimAt(t, open, closed.URL)) })

	for name, answer := range map[string]http.HandlerFunc{
		"status 500": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "an error of its own", 500) },
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>It works!</html>") },
		"no models":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") },
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"models":[`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := httptest.NewServer(answer)
			t.Cleanup(target.Close) // after the backend, which opens later
			wantFaults(t, aimAt(t, open, target.URL))
		})
	}

	// Whoever follows takes the token to where it doesn't belong.
	t.Run("redirect", func(t *testing.T) {
		var followed atomic.Bool
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
		t.Cleanup(elsewhere.Close)
		target := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
		t.Cleanup(target.Close)
		wantFaults(t, aimAt(t, open, target.URL))
		if followed.Load() {
			t.Error("the redirect was followed")
		}
	})
}

// wantFaults wants that no list can be had of b. A probe may be content with
// less.
func wantFaults(t *testing.T, b core.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, c := range calls(b) {
		err := c.call(ctx)
		if err == nil && c.name == "Probe" {
			continue
		}
		checkFault(t, c.name, err)
	}
}

func checkFault(t *testing.T, what string, err error) *core.Fault {
	t.Helper()
	var fault *core.Fault
	if !errors.As(err, &fault) {
		t.Errorf("%s: got %v, want a fault", what, err)
		return &core.Fault{}
	}
	if !known(fault.Reason) {
		t.Errorf("%s: reason %q is none of those in foreman.proto", what, fault.Reason)
	}
	checkSentence(t, what, fault.Detail)
	return fault
}

var statusReason = regexp.MustCompile(`^status_[1-5][0-9][0-9]$`)

// known reports whether a backend may give that reason: all but the one that
// is foreman's own.
func known(r core.Reason) bool {
	return statusReason.MatchString(string(r)) || slices.Contains([]core.Reason{
		core.ReasonRefused, core.ReasonTimeout, core.ReasonReset, core.ReasonNoRoute, core.ReasonDNS,
		core.ReasonTLS, core.ReasonRedirect, core.ReasonNotJSON, core.ReasonNoModels, core.ReasonBadModel,
		core.ReasonTruncated, core.ReasonTooLarge, core.ReasonWrongTarget, core.ReasonUnknown,
	}, r)
}

// testSilentTarget wants every call to end soon after its context does, while
// the target takes connections and never answers.
func testSilentTarget(t *testing.T, open func(*testing.T) (core.Backend, core.Settings)) {
	target := newSilentTarget(t)
	b := aimAt(t, open, "http://"+target.listener.Addr().String())
	for _, c := range calls(b) {
		t.Run(c.name+" times out", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			fault := checkFault(t, c.name, c.call(ctx))
			if late := lateness(ctx); late > soon {
				t.Errorf("it returned %v after its deadline", late)
			}
			if fault.Reason != core.ReasonTimeout {
				t.Errorf("the reason is %q, want %q", fault.Reason, core.ReasonTimeout)
			}
		})
		t.Run(c.name+" is canceled", func(t *testing.T) {
			target.forget()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			returned := make(chan error, 1)
			go func() { returned <- c.call(ctx) }()
			select {
			case <-target.taken:
			case <-time.After(soon): // it uses a connection that it has
			}
			cancel()
			switch err := <-returned; {
			case err == nil:
				t.Error("it had an answer that nobody gave")
			case errors.Is(err, errGoesOn):
				t.Error(err)
			}
		})
	}
}

// lateness is how long ago ctx's deadline was.
func lateness(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Since(deadline)
}

// A silentTarget takes connections and never answers.
type silentTarget struct {
	listener net.Listener
	taken    chan struct{} // holds a token after a connection
}

func newSilentTarget(t *testing.T) *silentTarget {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := &silentTarget{listener: listener, taken: make(chan struct{}, 1)}
	over := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-over
	})
	go func() {
		defer close(over)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			select {
			case target.taken <- struct{}{}:
			default:
			}
		}
	}()
	return target
}

// forget takes back what was told of earlier connections.
func (s *silentTarget) forget() {
	select {
	case <-s.taken:
	default:
	}
}
