//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/testkit"
)

// A diary is a notifier that writes each event to a file, a line for each.
type diary struct {
	t    *testing.T
	file string
}

// keepDiary adds one to foreman's config, with more lines in its table.
func keepDiary(t *testing.T, f *testkit.Foreman, more string) diary {
	t.Helper()
	file := filepath.Join(t.TempDir(), "diary")
	appendFile(t, f.Config, fmt.Sprintf("[notify.diary]\ntype = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"cat >> %s; echo >> %[1]s\"]\n%s\n", file, more))
	return diary{t, file}
}

func (d diary) events() []core.Event {
	d.t.Helper()
	text, err := os.ReadFile(d.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	var events []core.Event
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var event core.Event
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			break // it is being written
		}
		events = append(events, event)
	}
	return events
}

func (d diary) types() []core.EventType {
	d.t.Helper()
	var types []core.EventType
	for _, event := range d.events() {
		types = append(types, event.Type)
	}
	return types
}

// mustSay waits until these, and no others, were told so far.
func (d diary) mustSay(want ...core.EventType) {
	d.t.Helper()
	testkit.Await(d.t, soon, "what was told", func() error {
		if got := d.types(); !slices.Equal(want, got) {
			return fmt.Errorf("it is %v, want %v", got, want)
		}
		return nil
	})
}

// healthOf is all that the daemon says of itself.
func healthOf(t *testing.T, f *testkit.Foreman) api.Health {
	t.Helper()
	answer, err := f.Get("/healthz")
	var health api.Health
	if err := errors.Join(err, json.Unmarshal(answer.Body, &health)); err != nil {
		t.Fatalf("GET /healthz: %v", err)
	}
	return health
}

func TestE2EModelEvents(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: o.URL, Poll: fastPoll + "\njitter = 0"})
	d := keepDiary(t, f, `events = ["model_*", "resident_changed"]`)
	appendFile(t, f.Config, "[notify]\nsettle = 3\n")
	f.Start()
	awaitHealth(t, f, soon, healthy)

	o.Create("fresh")
	d.mustSay(core.EventModelAdded)
	load(t, o, "fresh", "-1")
	d.mustSay(core.EventModelAdded, core.EventResidentChanged)
	load(t, o, "fresh", "0")
	d.mustSay(core.EventModelAdded, core.EventResidentChanged, core.EventResidentChanged)

	// Three polls have to agree, which are a second apart.
	before := time.Now()
	o.Delete("fresh")
	d.mustSay(core.EventModelAdded, core.EventResidentChanged, core.EventResidentChanged, core.EventModelRemoved)
	events := d.events()
	if took := events[3].At.Sub(before); took < 1900*time.Millisecond {
		t.Errorf("told %v after the removal began, when three polls can't have confirmed it", took)
	}
	var added, removed core.ModelData
	var loaded, unloaded core.ResidentData
	for i, data := range []any{&added, &loaded, &unloaded, &removed} {
		if err := json.Unmarshal(events[i].Data, data); err != nil {
			t.Fatal(err)
		}
	}
	if added.Model != "fresh:latest" || added.Digest == "" || removed != added {
		t.Errorf("added %+v and removed %+v", added, removed)
	}
	mustEqual(t, "loaded", core.ResidentData{Resident: core.Names{"fresh:latest"}, Loaded: core.Names{"fresh:latest"}, Unloaded: core.Names{}}, loaded)
	mustEqual(t, "unloaded", core.ResidentData{Resident: core.Names{}, Loaded: core.Names{}, Unloaded: core.Names{"fresh:latest"}}, unloaded)
}

// An outage that goes on is told once, however often foreman is restarted, and
// its end is told by whichever foreman sees it.
func TestE2ERestartsWhileOllamaIsAway(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: o.URL, Poll: fastPoll})
	d := keepDiary(t, f, `min_interval = "0s"`) // else repetitions would be held back
	f.Start()
	awaitHealth(t, f, soon, healthy)
	o.Kill()
	d.mustSay(core.EventDegraded)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		f.Signal(sig)
		f.AwaitEnd(5*time.Second, time.Second)
		f.Start()
		mustDegrade(t, f, "refused")
	}
	o.Restart()
	mustRecover(t, f)
	d.mustSay(core.EventDegraded, core.EventRecovered)
}

func TestE2EKilledWithAnEventUndelivered(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: o.URL, Poll: fastPoll})
	hook, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	appendFile(t, f.Config, fmt.Sprintf("[notify.ops]\ntype = \"webhook\"\nurl = \"http://%s\"\nallow_private = true\n", hook.Addr()))
	if err := hook.Close(); err != nil {
		t.Fatal(err)
	}
	f.Start()
	awaitHealth(t, f, soon, healthy)
	o.Kill()
	testkit.Await(t, soon, "an event that can't be delivered", func() error {
		if n := healthOf(t, f).Notifiers; len(n) != 1 || n[0].Queued != 1 || n[0].Error == "" {
			return fmt.Errorf("notifiers: %+v", n)
		}
		return nil
	})
	f.Signal(syscall.SIGKILL)
	f.AwaitEnd(time.Second, time.Second)

	types := make(chan string, 10)
	hook, err = net.Listen("tcp", hook.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var event struct{ Type string }
		_ = json.NewDecoder(r.Body).Decode(&event) // its type then is ""
		types <- event.Type
	})}
	go func() { _ = server.Serve(hook) }()
	t.Cleanup(func() { server.Close() })
	next := func(want string) {
		t.Helper()
		select {
		case got := <-types:
			if got != want {
				t.Errorf("the webhook got %q, want %s", got, want)
			}
		case <-time.After(soon):
			t.Fatalf("the webhook didn't get %s within %v", want, soon)
		}
	}
	f.Start()
	next("foreman.degraded")
	mustDegrade(t, f, "refused")
	o.Restart()
	next("foreman.recovered")
}
