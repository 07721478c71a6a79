package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// underWay is how long a delivery to a silent destination is given to begin.
const underWay = 300 * time.Millisecond

// NotifierSettings are what a notifier under test is configured with: each a
// JSON object, as [core.Notifier] gets it.
type NotifierSettings struct {
	// Good lead to a destination that takes every event. nil is {}.
	Good json.RawMessage
	// Failing lead to a destination that takes none, such as a closed port;
	// nil where there is no such thing.
	Failing json.RawMessage
	// Silent lead to a destination that never answers; nil where there is no
	// such thing.
	Silent json.RawMessage
}

// Notifier checks that a notifier keeps the contract. open returns one that
// isn't configured; each test opens its own. Whether the events arrived is for
// the author to check.
func Notifier(t *testing.T, settings NotifierSettings, open func(*testing.T) core.Notifier) {
	if settings.Good == nil {
		settings.Good = json.RawMessage("{}")
	}
	t.Run("refuses bad settings", func(t *testing.T) { testNotifierSettings(t, open, settings.Good) })
	for name, test := range map[string]func(*testing.T, core.Notifier){
		"takes every type of event":  testEveryType,
		"takes what is hard to pass": testHardEvents,
		"takes an event twice":       testTwice,
		"takes concurrent calls":     testConcurrentEvents,
		"obeys a context that ended": testEndedNotify,
	} {
		t.Run(name, func(t *testing.T) { test(t, configured(t, open, settings.Good)) })
	}
	if settings.Failing != nil {
		t.Run("tells a failure", func(t *testing.T) {
			err := deliver(within(t, patience), configured(t, open, settings.Failing), events()[0])
			if err == nil {
				t.Fatal("it delivered to a destination that takes nothing")
			}
			checkSentence(t, "the error", err.Error())
		})
	}
	if settings.Silent != nil {
		t.Run("gives up a silent destination", func(t *testing.T) {
			testSilentDestination(t, func(t *testing.T) core.Notifier { return configured(t, open, settings.Silent) })
		})
	}
}

func configured(t *testing.T, open func(*testing.T) core.Notifier, settings json.RawMessage) core.Notifier {
	t.Helper()
	n := open(t)
	if err := configure(t, n, settings); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	return n
}

// within is a context that ends by then.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// errGoesOn is of a call that doesn't heed its context.
var errGoesOn = fmt.Errorf("it goes on %v after its context ended", soon)

// await is f(ctx), but for one that doesn't come back.
func await(ctx context.Context, f func(context.Context) error) error {
	returned := make(chan error, 1)
	go func() { returned <- f(ctx) }()
	select {
	case err := <-returned:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-returned:
		return err
	case <-time.After(soon):
		return errGoesOn
	}
}

// deliver is n.Notify, but for one that doesn't come back.
func deliver(ctx context.Context, n core.Notifier, e core.Event) error {
	return await(ctx, func(ctx context.Context) error { return n.Notify(ctx, e) })
}

// configure is n.Configure, but for one that doesn't come back.
func configure(t *testing.T, n core.Notifier, settings json.RawMessage) error {
	return await(within(t, patience), func(ctx context.Context) error { return n.Configure(ctx, settings) })
}

// events are one of each type, the last of a type that a later foreman might
// make.
func events() []core.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	data := map[core.EventType]any{
		core.EventDegraded:  core.DegradedData{Reason: core.ReasonRefused, Error: "GET /api/tags: connection refused", Failures: 3, LastSuccess: &at},
		core.EventRecovered: core.RecoveredData{DegradedAt: at, DegradedSeconds: 12.5},
		core.EventTargetChanged: core.TargetChangedData{
			Was: core.TargetIdentity{Backend: "ollama", URL: "http://target:11434", Version: "0.17.3"},
			Now: core.TargetIdentity{Backend: "ollama", URL: "http://target:11434", Version: "0.17.4"},
		},
		core.EventModelAdded:      core.ModelData{Model: "tiny:latest", Digest: "abc", Size: 5},
		core.EventModelRemoved:    core.ModelData{Model: "tiny:latest", Digest: "abc", Size: 5},
		core.EventModelChanged:    core.ModelData{Model: "tiny:latest", Digest: "def", WasDigest: "abc", Size: 5},
		core.EventResidentChanged: core.ResidentData{Resident: []string{"tiny:latest"}, Loaded: []string{"tiny:latest"}, Unloaded: []string{}},
		core.EventModelMissing:    core.MissingData{Model: "tony", Caller: "alice", Route: "/api/chat", Near: []string{"tiny:latest"}},
		core.EventPluginRestarted: core.PluginData{Plugin: "ollama", Kind: "backend", Restarts: 1, Error: "it exited: exit status 2"},
		core.EventConfigReloaded:  core.ConfigReloadedData{File: "/etc/foreman.toml", Changed: []string{"poll.interval"}, NeedsRestart: []string{}},
		core.EventConfigRejected:  core.ConfigRejectedData{File: "/etc/foreman.toml", Line: 3, Key: "poll.interval", Problem: "want a duration"},
	}
	var all []core.Event
	for i, kind := range append(core.EventTypes(), "of_a_later_version") {
		e := core.NewEvent(kind, at.Add(time.Duration(i)*time.Second), "http://target:11434", "this is a test: "+string(kind), data[kind])
		e.ID = fmt.Sprintf("01KE000000%016d", i)
		all = append(all, e)
	}
	return all
}

func testNotifierSettings(t *testing.T, open func(*testing.T) core.Notifier, good json.RawMessage) {
	settings := map[string]json.RawMessage{}
	if err := json.Unmarshal(good, &settings); err != nil {
		t.Fatalf("the good settings are no JSON object: %v", err)
	}
	settings["no_such_setting"] = json.RawMessage("1")
	unknown, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{
		"a setting of no meaning": string(unknown),
		"a list":                  "[]",
		"half an object":          "{",
	} {
		err := configure(t, open(t), json.RawMessage(bad))
		if err == nil {
			t.Errorf("%s was taken", what)
			continue
		}
		checkSentence(t, what, err.Error())
	}
}

func testEveryType(t *testing.T, n core.Notifier) {
	for _, e := range events() {
		if err := deliver(within(t, patience), n, e); err != nil {
			t.Errorf("%s: %v", e.Type, err)
		}
	}
}

func testHardEvents(t *testing.T, n core.Notifier) {
	hard := events()[0]
	hard.Sentence = `"quoted" 'quoted' \n $(false) %s {{.}} <b>&amp; ünïcödé 🦙`
	bare := events()[0]
	bare.Target, bare.Data = "", json.RawMessage("{}")
	big := events()[0]
	big.Data = json.RawMessage(`{"padding":"` + strings.Repeat("x", 1<<20) + `"}`)
	for what, e := range map[string]core.Event{"special characters": hard, "no target": bare, "1 MiB of data": big} {
		if err := deliver(within(t, patience), n, e); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// testTwice is foreman that had no answer the first time.
func testTwice(t *testing.T, n core.Notifier) {
	for range 2 {
		if err := deliver(within(t, patience), n, events()[0]); err != nil {
			t.Error(err)
		}
	}
}

func testConcurrentEvents(t *testing.T, n core.Notifier) {
	ctx := within(t, patience)
	var calls sync.WaitGroup
	for _, e := range events()[:4] {
		calls.Go(func() {
			if err := deliver(ctx, n, e); err != nil {
				t.Errorf("%s: %v", e.Type, err)
			}
		})
	}
	calls.Wait()
}

func testEndedNotify(t *testing.T, n core.Notifier) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// It may have been quicker than the context.
	if err := deliver(ctx, n, events()[0]); errors.Is(err, errGoesOn) {
		t.Error(err)
	}
	if err := deliver(within(t, patience), n, events()[1]); err != nil {
		t.Errorf("the next event: %v", err)
	}
}

func testSilentDestination(t *testing.T, open func(*testing.T) core.Notifier) {
	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		n := open(t)
		err := deliver(within(t, time.Second), n, events()[0])
		switch {
		case err == nil:
			t.Error("it delivered to a destination that never answers")
		case errors.Is(err, core.ErrUndeliverable):
			t.Errorf("it drops what may arrive later: %v", err)
		case errors.Is(err, core.ErrNoAnswer):
			t.Error("the plugin itself didn't answer")
		case errors.Is(err, errGoesOn):
			t.Error(err)
		default:
			checkSentence(t, "the error", err.Error())
		}
	})
	t.Run("when it is canceled", func(t *testing.T) {
		t.Parallel()
		n := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		defer time.AfterFunc(underWay, cancel).Stop()
		switch err := deliver(ctx, n, events()[0]); {
		case err == nil:
			t.Error("it delivered to a destination that never answers")
		case errors.Is(err, errGoesOn):
			t.Error(err)
		}
	})
}
