//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

const (
	// soon is how long a slow machine may take to do what takes no time.
	soon = 20 * time.Second
	// usableAgain is the promise for a target that answers again, and the
	// time of one poll.
	usableAgain = 2*time.Second + fastTimeout

	fastTimeout = 500 * time.Millisecond
	fastPoll    = `
interval = "1s"
timeout = "500ms"
fast_interval = "200ms"
down_interval = "200ms"`
)

func ollamaBin(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("OLLAMA_BIN")
	if bin == "" {
		t.Skip("OLLAMA_BIN is not set; `make e2e` sets it")
	}
	return bin
}

// bringUp starts an Ollama and, in front of it, a daemon that polls fast and
// has seen it.
func bringUp(t *testing.T) (*testkit.Ollama, *testkit.Foreman) {
	t.Helper()
	o := testkit.StartOllama(t, ollamaBin(t))
	return o, serveFor(t, testkit.Settings{Target: o.URL, Poll: fastPoll})
}

func serveFor(t *testing.T, settings testkit.Settings) *testkit.Foreman {
	t.Helper()
	f := testkit.NewForeman(t, testkit.BuildForeman(t), settings)
	f.Start()
	awaitHealth(t, f, soon, healthy)
	return f
}

// awaitHealth waits until /healthz tells what is wanted, and returns how long
// that took.
func awaitHealth(t *testing.T, f *testkit.Foreman, within time.Duration, wanted func(testkit.Health) error) time.Duration {
	t.Helper()
	return testkit.Await(t, within, "/healthz", func() error { return wanted(f.Health()) })
}

// healthy wants all to be well.
func healthy(h testkit.Health) error {
	if h.Status != "healthy" || h.Degraded || !h.LastPoll.OK || h.Failures != 0 || h.Inventory.Stale || h.Resident.Stale {
		return fmt.Errorf("want it healthy: %+v", h)
	}
	return nil
}

// degraded wants the target to be away for one of the reasons, and the models
// of an earlier look.
func degraded(reasons ...string) func(testkit.Health) error {
	return func(h testkit.Health) error {
		if h.Status != "degraded" || !h.Degraded || h.LastPoll.OK || h.Failures < 3 ||
			!slices.Contains(reasons, h.LastPoll.Reason) || h.LastPoll.Error == "" ||
			!h.Inventory.Stale || !h.Resident.Stale || h.Inventory.Models != len(testkit.Names) {
			return fmt.Errorf("want it degraded with all models, because of %v: %+v", reasons, h)
		}
		return nil
	}
}

// mustDegrade waits until the target counts as away for one of the reasons.
func mustDegrade(t *testing.T, f *testkit.Foreman, reasons ...string) {
	t.Helper()
	took := awaitHealth(t, f, soon, degraded(reasons...))
	answer, err := f.Get("/api/tags")
	if err != nil || answer.Header.Get("Foreman-Degraded") != "true" {
		t.Errorf("a degraded foreman lists models with Foreman-Degraded: %q, %v", answer.Header.Get("Foreman-Degraded"), err)
	}
	t.Logf("degraded after %v: %s", took, f.Health().LastPoll.Error)
}

// mustRecover waits until a target that answers again is healthy.
func mustRecover(t *testing.T, f *testkit.Foreman) {
	t.Helper()
	took := awaitHealth(t, f, soon, healthy)
	t.Logf("healthy %v after the target answers again", took)
	if took > usableAgain {
		t.Errorf("healthy %v after the target answers again, want at most %v", took, usableAgain)
	}
}

// replaced wants the plugin to be its second process, and all to be well.
func replaced(h testkit.Health) error {
	if len(h.Plugins) != 1 || h.Plugins[0].State != "running" || h.Plugins[0].Restarts != 1 {
		return fmt.Errorf("want a plugin that was restarted once: %+v", h)
	}
	return healthy(h)
}

// listRoutes are answered whatever the target does.
var listRoutes = []string{"/api/tags", "/v1/models", "/api/ps"}

// lists are the bodies of listRoutes.
func lists(f *testkit.Foreman) (bodies [][]byte, degraded bool, err error) {
	for _, route := range listRoutes {
		answer, err := f.Get(route)
		if err != nil {
			return nil, false, err
		}
		if answer.Status != http.StatusOK {
			return nil, false, fmt.Errorf("%s answers %d %s", route, answer.Status, answer.Body)
		}
		bodies = append(bodies, answer.Body)
		degraded = degraded || answer.Header.Get("Foreman-Degraded") == "true"
	}
	return bodies, degraded, nil
}

// A caller asks for the lists all the time. They have to be there, and the
// same, until it is stopped.
type caller struct {
	t    *testing.T
	stop context.CancelFunc
	done chan struct{}

	// Readable once it has stopped.
	asked       int
	slowest     time.Duration
	sawDegraded bool
	err         error
}

func callAllTheTime(t *testing.T, f *testkit.Foreman) *caller {
	t.Helper()
	first, _, err := lists(f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &caller{t: t, stop: cancel, done: make(chan struct{})}
	t.Cleanup(cancel)
	go func() {
		defer close(c.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for c.err == nil && ctx.Err() == nil {
			c.ask(f, first)
			<-tick.C
		}
	}()
	return c
}

func (c *caller) ask(f *testkit.Foreman, want [][]byte) {
	began := time.Now()
	got, degraded, err := lists(f)
	c.asked++
	c.slowest = max(c.slowest, time.Since(began))
	c.sawDegraded = c.sawDegraded || degraded
	if c.err = err; err == nil && !slices.EqualFunc(want, got, bytes.Equal) {
		c.err = fmt.Errorf("the lists have changed:\n%s\nwant\n%s", got, want)
	}
}

// mustHaveBeenServed ends the caller, and tells whether an answer's header
// ever said that foreman is degraded.
func (c *caller) mustHaveBeenServed() (sawDegraded bool) {
	c.t.Helper()
	c.stop()
	<-c.done
	if c.err != nil {
		c.t.Errorf("a caller failed at its round %d: %v", c.asked, c.err)
	}
	if c.slowest > 2*time.Second {
		c.t.Errorf("a caller waited %v for three lists", c.slowest)
	}
	c.t.Logf("a caller got all lists %d times, the slowest within %v", c.asked, c.slowest)
	return c.sawDegraded
}

// getFresh asks for a list that isn't older than the request.
func getFresh(t *testing.T, f *testkit.Foreman, path string) testkit.Answer {
	t.Helper()
	answer, err := f.Get(path, "Cache-Control", "no-cache")
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return answer
}

// objects are the elements of an array in a JSON object, as they were sent,
// sorted.
func objects(t *testing.T, body []byte, array string) []string {
	t.Helper()
	var object map[string]json.RawMessage
	var elements []json.RawMessage
	if err := errors.Join(json.Unmarshal(body, &object), json.Unmarshal(object[array], &elements)); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var sorted []string
	for _, e := range elements {
		sorted = append(sorted, string(e))
	}
	slices.Sort(sorted)
	return sorted
}

func sortedLines(text string) []string { return slices.Sorted(strings.Lines(text)) }

// load makes the model resident.
func load(t *testing.T, o *testkit.Ollama, model, keepAlive string) {
	t.Helper()
	body := fmt.Sprintf(`{"model":%q,"keep_alive":%s}`, model, keepAlive)
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(o.URL+"/api/generate", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("load %s: status %d", model, resp.StatusCode)
	}
}

func mustEqual(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
