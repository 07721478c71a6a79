// Package plugintest is the conformance kit for plugins. An author runs
// [Backend] or [Notifier] on the Go value while writing it, and
// [BackendProcess] or [NotifierProcess] on the executable, which may be
// written in any language:
//
//	func TestConformance(t *testing.T) {
//		plugintest.NotifierProcess(t, plugintest.NotifierSettings{
//			Good: json.RawMessage(`{"room": "ops"}`),
//		}, "bin/foreman-notifier-mine")
//	}
//
// What it demands is in the doc comments of [core.Backend] and
// [core.Notifier] and in core/plugin/pluginpb/foreman.proto. Only test files
// import it.
package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// patience is how long a call to a target that answers may take.
	patience = 10 * time.Second
	// soon is how long a call may go on after its context has ended.
	soon = time.Second
	// token must never show in an error.
	token = "s3cret-t0ken"
)

// Backend checks that a backend keeps the contract. open returns one that
// isn't configured, and settings that lead it to a target which answers, has
// a model installed, and doesn't change meanwhile; each test opens its own.
// Settings without a URL mean that the target is the backend's own; else it is
// tested with bad targets at other URLs too, and with one that has the good
// one's models in very many copies.
func Backend(t *testing.T, open func(t *testing.T) (core.Backend, core.Settings)) {
	ownTarget := false
	for _, c := range []struct {
		name string
		test func(*testing.T, *subject)
	}{
		{"refuses bad settings", testBadSettings},
		{"states its upstream", testUpstream},
		{"probes", testProbe},
		{"lists models", testModels},
		{"knows a fingerprint", testFingerprint},
		{"lists residents", testRunning},
		{"takes concurrent calls", testConcurrent},
		{"obeys a context that has ended", testEndedContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, settings := open(t)
			ownTarget = settings.URL == ""
			c.test(t, &subject{b, settings})
		})
	}
	if ownTarget {
		return
	}
	t.Run("lists very many models", func(t *testing.T) { testManyModels(t, open) })
	t.Run("tells what is wrong with a target", func(t *testing.T) { testBadTargets(t, open) })
	t.Run("gives up a silent target", func(t *testing.T) { testSilentTarget(t, open) })
}

// A subject is a backend under test and how to configure it.
type subject struct {
	core.Backend
	settings core.Settings
}

// configured is the context for calls to the backend, configured.
func (s *subject) configured(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	err := await(ctx, func(ctx context.Context) error {
		_, err := s.Configure(ctx, s.settings)
		return err
	})
	if err != nil {
		t.Fatalf("Configure: %v", err)
	}
	return ctx
}

func (s *subject) list(t *testing.T, ctx context.Context, known string) core.ModelList {
	t.Helper()
	var list core.ModelList
	err := await(ctx, func(ctx context.Context) (err error) {
		list, err = s.Models(ctx, known)
		return err
	})
	if err != nil {
		t.Fatalf("Models(%q): %v", known, err)
	}
	return list
}

func testBadSettings(t *testing.T, s *subject) {
	for what, change := range map[string]func(*core.Settings){
		"a URL that is none":      func(s *core.Settings) { s.URL = "://" },
		"a setting of no meaning": func(s *core.Settings) { s.Extra = json.RawMessage(`{"no_such_setting":1}`) },
	} {
		settings := s.settings
		settings.Token = token
		change(&settings)
		_, err := s.Configure(t.Context(), settings)
		if err == nil {
			t.Errorf("%s was taken", what)
			continue
		}
		checkSentence(t, what, err.Error())
	}
}

func testUpstream(t *testing.T, s *subject) {
	up, err := s.Configure(t.Context(), s.settings)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(up.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.HasSuffix(up.URL, "/") {
		t.Errorf("the upstream is %q, want http://host:port without a trailing slash", up.URL)
	}
}

func testProbe(t *testing.T, s *subject) {
	version, err := s.Probe(s.configured(t))
	if err != nil {
		t.Fatal(err)
	}
	if !isLine(version) {
		t.Errorf("the version is %q, want one printable line or nothing", version)
	}
}

func testModels(t *testing.T, s *subject) {
	list := s.list(t, s.configured(t), "")
	if list.Unchanged {
		t.Error("says unchanged to a caller who holds nothing")
	}
	if len(list.Models) == 0 {
		t.Fatal("the target of a conformance test needs a model")
	}
	for _, m := range list.Models {
		checkEntry(t, m.Name, m.Raw)
		if m.Size < 0 {
			t.Errorf("%s has %d bytes", m.Name, m.Size)
		}
	}
}

func testRunning(t *testing.T, s *subject) {
	residents, err := s.Running(s.configured(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range residents {
		checkEntry(t, r.Name, r.Raw)
		if r.Size < 0 || r.SizeVRAM < 0 || r.ContextLength < 0 {
			t.Errorf("%s is resident with less than nothing: %+v", r.Name, r)
		}
	}
}

// checkEntry checks what foreman puts into a list as it is. A raw that is
// left out foreman makes itself.
func checkEntry(t *testing.T, name string, raw json.RawMessage) {
	t.Helper()
	if name == "" || !utf8.ValidString(name) {
		t.Errorf("a model is called %q", name)
	}
	if len(raw) == 0 {
		return
	}
	var sent struct{ Name, Model string }
	switch err := json.Unmarshal(raw, &sent); {
	case err != nil || !bytes.HasPrefix(raw, []byte("{")) || !utf8.Valid(raw):
		t.Errorf("%s: raw is no JSON object: %.200q", name, raw)
	case sent.Name != name && sent.Model != name:
		t.Errorf("%s: raw is of another model: %.200s", name, raw)
	}
}

func testFingerprint(t *testing.T, s *subject) {
	ctx := s.configured(t)
	first := s.list(t, ctx, "")
	if other := s.list(t, ctx, "not-a-fingerprint-of-this-backend"); other.Unchanged {
		t.Error("says unchanged to a fingerprint that it never gave")
	} else if diff := cmp.Diff(byName(first.Models), byName(other.Models), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("another list for an unknown fingerprint (-first +got):\n%s", diff)
	}
	if first.Fingerprint == "" {
		return
	}
	again := s.list(t, ctx, first.Fingerprint)
	if again.Fingerprint != first.Fingerprint {
		t.Errorf("the same list had fingerprint %q and has %q", first.Fingerprint, again.Fingerprint)
	}
	want := byName(first.Models)
	if again.Unchanged {
		want = nil
	}
	if diff := cmp.Diff(want, byName(again.Models), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("asked again, unchanged %v (-want +got):\n%s", again.Unchanged, diff)
	}
}

// byName sorts: a target may list its models in any order.
func byName(models []core.Model) []core.Model {
	sorted := slices.Clone(models)
	slices.SortFunc(sorted, func(a, b core.Model) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return bytes.Compare(a.Raw, b.Raw)
	})
	return sorted
}

func testConcurrent(t *testing.T, s *subject) {
	ctx := s.configured(t)
	want := byName(s.list(t, ctx, "").Models)
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			list, err := s.Models(ctx, "")
			if diff := cmp.Diff(want, byName(list.Models)); err != nil || diff != "" {
				t.Errorf("Models: %v (-alone +together):\n%s", err, diff)
			}
		})
		calls.Go(func() {
			if _, err := s.Running(ctx); err != nil {
				t.Errorf("Running: %v", err)
			}
		})
		calls.Go(func() {
			if _, err := s.Probe(ctx); err != nil {
				t.Errorf("Probe: %v", err)
			}
		})
	}
	calls.Wait()
}

func testEndedContext(t *testing.T, s *subject) {
	ctx, cancel := context.WithCancel(s.configured(t))
	cancel()
	for _, c := range calls(s) {
		began := time.Now()
		_ = c.call(ctx) // it may have had the answer
		if took := time.Since(began); took > soon {
			t.Errorf("%s took %v after its context had ended", c.name, took)
		}
	}
}

type call struct {
	name string
	call func(context.Context) error
}

// calls are the methods that contact the target, but for one that doesn't come
// back.
func calls(b core.Backend) []call {
	all := []call{
		{"Probe", func(ctx context.Context) error { _, err := b.Probe(ctx); return err }},
		{"Models", func(ctx context.Context) error { _, err := b.Models(ctx, ""); return err }},
		{"Running", func(ctx context.Context) error { _, err := b.Running(ctx); return err }},
	}
	for i, c := range all {
		all[i].call = func(ctx context.Context) error { return await(ctx, c.call) }
	}
	return all
}

// checkSentence checks a text that a user will read in one line.
func checkSentence(t *testing.T, what, text string) {
	t.Helper()
	if !isLine(text) || !strings.Contains(text, " ") || len(text) > 500 {
		t.Errorf("%s: %q doesn't read as a sentence", what, text)
	}
	if strings.Contains(text, token) {
		t.Errorf("%s: %q holds the token", what, text)
	}
}

func isLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
