//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

const (
	// noticed is how soon a target that is gone is noticed in mid-stream.
	noticed = 15 * time.Second
	// maxWait is a short retry.max_wait.
	maxWait = time.Second
	// dropped is how soon the target stops when its caller has left.
	dropped = 2 * time.Second
)

// endless has no end by itself.
const endless = `{"model":"tiny-loop","prompt":"why"}`

const short = `{"model":"tiny","prompt":"why","stream":false}`

// overLink starts a daemon that reaches the target over a link.
func overLink(t *testing.T, poll string) (*target, *testkit.Link, *testkit.Foreman) {
	t.Helper()
	tg := newTarget(t)
	link := testkit.NewLink(t, tg.URL)
	return tg, link, serveFor(t, testkit.Settings{Target: link.URL, Poll: poll, Schedule: sideBySide})
}

// TestE2EConnectionReset cuts the link at every point of an answer. The
// caller gets the whole of one, or sees that it breaks.
func TestE2EConnectionReset(t *testing.T) {
	t.Parallel()
	tg, link, f := overLink(t, "")
	path, body := asked(1)
	for _, at := range []int64{0, 1, 50} {
		t.Run(fmt.Sprintf("%d bytes into the header", at), func(t *testing.T) {
			before := link.Cuts()
			link.Cut(at)
			p := send(t, f.URL+path, body, "early")
			testkit.Await(t, soon, "an attempt fails", func() error {
				if link.Cuts() == before {
					return errors.New("no connection was cut")
				}
				return nil
			})
			if !p.waits() {
				t.Error("the caller is answered before the target is")
			}
			link.Heal()
			got := p.mustAnswer(soon, http.StatusOK)
			mustEqual(t, "the stream", string(tg.answer("early")), string(got.answer.Body))
		})
	}
	whole, err := post(t.Context(), callers(t, 1), f.URL+path, body, "whole")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []float64{0.2, 0.5, 0.9} {
		t.Run(fmt.Sprintf("%v of the answer", part), func(t *testing.T) {
			link.Cut(int64(part * float64(len(whole.Body))))
			defer link.Heal()
			got, err := post(t.Context(), callers(t, 1), f.URL+path, body, "late")
			if err == nil {
				t.Errorf("the stream looks whole with %d bytes of some %d", len(got.Body), len(whole.Body))
			}
			if sent := tg.answer("late"); !bytes.HasPrefix(sent, got.Body) {
				t.Errorf("the target sent\n%s\nand this came\n%s", sent, got.Body)
			}
		})
	}
}

func TestE2EBlackHole(t *testing.T) {
	t.Parallel()
	t.Run("before the first byte", func(t *testing.T) {
		t.Parallel()
		tg, link, f := overLink(t, fastPoll)
		link.Hold()
		path, body := asked(1)
		p := send(t, f.URL+path, body, "held")
		awaitHealth(t, f, soon, func(h testkit.Health) error {
			if h.Status != "degraded" {
				return fmt.Errorf("want it degraded: %+v", h)
			}
			return nil
		})
		if !p.waits() {
			t.Error("the request isn't held")
		}
		link.Heal()
		got := p.mustAnswer(soon, http.StatusOK)
		mustEqual(t, "the stream", string(tg.answer("held")), string(got.answer.Body))
	})
	t.Run("in mid-stream", func(t *testing.T) {
		t.Parallel()
		o := testkit.StartOllama(t, ollamaBin(t))
		link := testkit.NewLink(t, o.URL)
		f := serveFor(t, testkit.Settings{Target: link.URL})
		s := begin(t, f.URL, "/api/generate", endless)
		link.Hold()
		s.mustBreak(noticed)
	})
}

// TestE2ETargetAwayBeforeTheFirstByte has a request wait for its target.
func TestE2ETargetAwayBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]struct {
		leave, comeBack func(*testkit.Ollama)
		reason          string
	}{
		"killed": {(*testkit.Ollama).Kill, (*testkit.Ollama).Restart, "refused"},
		"frozen": {(*testkit.Ollama).Pause, (*testkit.Ollama).Resume, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("and back", func(t *testing.T) {
				t.Parallel()
				o, f := bringUp(t)
				away.leave(o)
				mustDegrade(t, f, away.reason)
				p := send(t, f.URL+"/api/generate", short, "")
				if !p.waits() {
					t.Error("the request isn't held")
				}
				away.comeBack(o)
				if got := p.mustAnswer(soon, http.StatusOK); !strings.Contains(string(got.answer.Body), "rayleigh") {
					t.Errorf("the answer is %s", got.answer.Body)
				}
			})
			t.Run("for good", func(t *testing.T) {
				t.Parallel()
				o := testkit.StartOllama(t, ollamaBin(t))
				f := serveFor(t, testkit.Settings{Target: o.URL, Poll: fastPoll, Retry: fmt.Sprintf("max_wait = %q", maxWait)})
				away.leave(o)
				got := send(t, f.URL+"/api/generate", short, "").mustAnswer(maxWait+noticed, http.StatusServiceUnavailable)
				if after, err := strconv.Atoi(got.answer.Header.Get("Retry-After")); err != nil || after < 1 || after > 10 {
					t.Errorf("Retry-After is %q", got.answer.Header.Get("Retry-After"))
				}
				if !strings.Contains(string(got.answer.Body), "foreman can't reach its target: "+away.reason) {
					t.Errorf("the answer doesn't say why: %s", got.answer.Body)
				}
				t.Logf("given up after %v: %s", got.after, got.answer.Body)
			})
		})
	}
}

func TestE2ETargetAwayInMidStream(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]struct {
		leave func(*testkit.Ollama)
		route string
	}{
		"killed":  {(*testkit.Ollama).Kill, "/api/generate"},
		"stopped": {(*testkit.Ollama).Stop, "/v1/completions"},
		"frozen":  {(*testkit.Ollama).Pause, "/v1/completions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, f := bringUp(t)
			s := begin(t, f.URL, away.route, `{"model":"tiny-loop","prompt":"why","stream":true}`)
			away.leave(o)
			s.mustBreak(noticed)
		})
	}
}

// TestE2ETargetAwayAfterAnAnswer has foreman find out that its connections
// to the target are dead.
func TestE2ETargetAwayAfterAnAnswer(t *testing.T) {
	t.Parallel()
	o, f := bringUp(t)
	for range 2 {
		send(t, f.URL+"/api/generate", short, "").mustAnswer(soon, http.StatusOK)
		o.Kill()
		o.Restart()
		send(t, f.URL+"/api/generate", short, "").mustAnswer(soon, http.StatusOK)
	}
}

func TestE2EPluginAwayInMidStream(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			t.Run("while the target speaks", func(t *testing.T) {
				t.Parallel()
				_, f := bringUp(t)
				s := begin(t, f.URL, "/api/generate", endless)
				signalPlugin(t, f, sig)
				awaitHealth(t, f, soon, func(h testkit.Health) error {
					s.more(1)
					return replaced(h)
				})
				s.more(64 << 10) // more than lay in the sockets
			})
			// Foreman asks a silent target for a sign of life by the plugin.
			t.Run("while the target is silent", func(t *testing.T) {
				t.Parallel()
				tg := newTarget(t)
				_, goOn, _ := tg.pauseOnce("/api/generate", "first, ", "second")
				f := serveFor(t, testkit.Settings{Target: tg.URL})
				s := begin(t, f.URL, "/api/generate", `{"model":"llama3.2","prompt":"why"}`)
				signalPlugin(t, f, sig)
				awaitHealth(t, f, soon, replaced)
				close(goOn)
				if rest, err := io.ReadAll(s.body); err != nil || !strings.HasSuffix(string(rest), "second") {
					t.Errorf("the stream ends with %q, %v", rest, err)
				}
			})
		})
	}
}

// TestE2ECallerLeaves has the target drop at once what nobody waits for.
func TestE2ECallerLeaves(t *testing.T) {
	t.Parallel()
	t.Run("a stream", func(t *testing.T) {
		_, f := bringUp(t)
		s := begin(t, f.URL, "/api/generate", endless)
		next := send(t, f.URL+"/api/generate", `{"model":"tiny","prompt":"why","stream":false,"options":{"num_predict":3}}`, "")
		s.more(64 << 10)
		if !next.waits() {
			t.Fatal("the target works on two things at once")
		}
		s.leave()
		next.mustAnswer(dropped, http.StatusOK)
	})
	for name, first := range map[string]string{"before the first byte": "", "while the target is silent": "first"} {
		t.Run(name, func(t *testing.T) {
			tg := newTarget(t)
			f := serveFor(t, testkit.Settings{Target: tg.URL})
			arrived, _, left := tg.pauseOnce("/api/generate", first, "")
			p := send(t, f.URL+"/api/generate", `{"model":"llama3.2","prompt":"why"}`, "")
			mustClose(t, arrived, soon, "the target gets no request")
			p.leave()
			mustClose(t, left, dropped, "the target still works")
		})
	}
}

func mustClose(t *testing.T, c <-chan struct{}, within time.Duration, complaint string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(within):
		t.Fatalf("after %v: %s", within, complaint)
	}
}
