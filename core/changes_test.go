package core_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// A story is a target's life as the snapshots show it, and what is told of it.
type story struct {
	snapshot *core.Snapshot
	changes  core.Changes
	now      time.Time
	version  string
}

func newStory(settle int) *story {
	return &story{
		snapshot: &core.Snapshot{Status: core.Starting, Backend: "ollama", URL: "http://a:1"},
		changes:  core.Changes{Settle: settle}, now: noon,
	}
}

// goOn takes one look, ten seconds later, and returns what it means.
func (s *story) goOn(look core.Look) []core.Event {
	s.now = s.now.Add(10 * time.Second)
	look.At = s.now
	s.snapshot = s.snapshot.After(look, core.Thresholds{Fall: 2, Rise: 2})
	return s.changes.After(s.snapshot, s.now)
}

// line is one line of a story:
//
//	lists MODEL[=DIGEST]… | RESIDENT[=DIGEST]…   a good look; "| ?" is a failed one at the residents
//	fails, probes                                a failed look, a good probe
//	says VERSION                                 from the next look on
//	saved MODEL…                                 the first snapshot, of the state file
//	moves [URL [BACKEND]]                        a fresh start, of another target if the URL says so
//	again                                        a snapshot without a look
func (s *story) line(t *testing.T, line string) []core.Event {
	t.Helper()
	verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch verb {
	case "lists":
		models, residents, _ := strings.Cut(rest, "|")
		look := core.Look{Version: s.version, Inventory: core.NewInventory(modelsOf(models), "")}
		if residents = strings.TrimSpace(residents); residents == "?" {
			look.ResidencyFault = &core.Fault{Reason: core.ReasonTimeout}
		} else {
			look.Residency = core.NewResidency(residentsOf(residents))
		}
		return s.goOn(look)
	case "fails":
		return s.goOn(core.Look{Poll: core.Poll{Fault: &core.Fault{Reason: core.ReasonRefused, Detail: "connection refused"}}})
	case "probes":
		return s.goOn(core.Look{ProbeOnly: true, Version: s.version})
	case "says":
		s.version = rest
		return nil
	case "saved":
		s.snapshot.Inventory, s.snapshot.InventoryAt = core.NewInventory(modelsOf(rest), ""), noon.Add(-time.Hour)
	case "moves":
		s.version = ""
		url, backend, _ := strings.Cut(rest, " ")
		if backend == "" {
			backend = s.snapshot.Backend
		}
		s.snapshot = &core.Snapshot{Status: core.Starting, Backend: backend, URL: url}
	case "again":
		next := *s.snapshot
		next.NextPoll = s.now.Add(time.Hour)
		s.snapshot = &next
	default:
		t.Fatalf("what is %q?", line)
	}
	return s.changes.After(s.snapshot, s.now)
}

func modelsOf(list string) []core.Model {
	var models []core.Model
	for _, field := range strings.Fields(list) {
		name, digest, _ := strings.Cut(field, "=")
		models = append(models, core.Model{Name: name, Digest: digest, Size: 7, ModifiedAt: noon, Raw: []byte(`{}`)})
	}
	return models
}

func residentsOf(list string) []core.Resident {
	var residents []core.Resident
	for _, field := range strings.Fields(list) {
		name, digest, _ := strings.Cut(field, "=")
		residents = append(residents, core.Resident{Name: name, Digest: digest, Raw: []byte(`{}`)})
	}
	return residents
}

// brief is what a story's line expects of an event.
func brief(t *testing.T, event core.Event) string {
	t.Helper()
	var data struct {
		Model            string
		Loaded, Unloaded []string
	}
	if err := json.Unmarshal(event.Data, &data); err != nil {
		t.Fatal(err)
	}
	words := []string{string(event.Type)}
	if data.Model != "" {
		words = append(words, data.Model)
	}
	for _, name := range data.Loaded {
		words = append(words, "+"+name)
	}
	for _, name := range data.Unloaded {
		words = append(words, "-"+name)
	}
	return strings.Join(words, " ")
}

func TestChanges(t *testing.T) {
	for name, script := range map[string]string{
		"the first list is no news": `
			lists a b | a
			lists a b | a`,
		"a target that is away from the start": `
			fails
			fails            => degraded
			fails
			probes
			lists a | a      => recovered
			lists a | a`,
		"a start that stumbles once": `
			fails
			lists a`,
		"alternating looks": `
			lists a
			fails
			lists a
			fails`,
		"down twice": `
			lists a
			fails
			fails            => degraded
			again
			probes
			fails
			probes
			lists a          => recovered
			fails
			fails            => degraded`,
		"added at once, removed once settled": `
			lists a
			lists a b        => model_added b
			lists b
			lists b          => model_removed a
			lists b
			lists a b        => model_added a`,
		"a model that comes back in time": `
			lists a b
			lists a
			lists a b
			lists a
			lists a b`,
		"failed looks and probes neither count nor begin anew": `
			lists a b
			lists a
			fails
			fails            => degraded
			again
			probes
			lists a          => recovered, model_removed b`,
		"an inventory that vanishes for a moment": `
			lists a b
			lists
			lists b a`,
		"an inventory that vanishes": `
			lists c b e a d | c b e a d
			lists
			lists            => model_removed a, model_removed b, model_removed c, model_removed d, model_removed e, resident_changed -a -b -c -d -e`,
		"another digest": `
			lists a=1 b=1
			lists b=1 a=2    => model_changed a
			lists b=1 a=2`,
		"another digest after a moment away": `
			lists a=1
			lists
			lists a=2        => model_changed a`,
		"a digest that isn't stated": `
			lists a
			lists a=1
			lists a
			lists a=1
			lists a
			lists a=2        => model_changed a`,
		"one model under names that mean the same": `
			lists tiny:latest
			lists TINY
			lists library/tiny`,
		"a name that isn't one": `
			lists a
			lists a not@name => model_added not@name
			lists a not@name
			lists a
			lists a          => model_removed not@name`,
		"what the state file had is believed": `
			saved a b
			lists b c        => model_added c
			lists b c        => model_removed a`,
		"residents settle both ways": `
			lists a | x
			lists a | x y
			lists a | x
			lists a | y
			lists a | y      => resident_changed +y -x
			lists a |
			lists a | y
			lists a |
			lists a |        => resident_changed -y`,
		"a resident with another digest": `
			lists a | x=1
			lists a | x=2
			lists a | x=2    => resident_changed +x -x`,
		"one runner that is listed twice": `
			lists a | x=1 y=1
			lists a | y=1 x=1 x=1
			lists a | x=1 y=1 x=1`,
		"residents that can't be told": `
			lists a | x
			lists a |
			lists a | ?
			lists a | ?
			lists a |        => resident_changed -x`,
		"another version": `
			says 1
			lists a
			says
			lists a
			says 2
			lists a          => target_changed
			lists a`,
		"another target": `
			says 1
			lists a b | a
			moves http://b:1 => target_changed
			says 2
			lists c | c
			lists c | c
			lists c d | c    => model_added d`,
		"another backend": `
			fails
			fails            => degraded
			moves http://a:1 llamacpp => target_changed
			fails
			fails            => degraded`,
		"the same target anew": `
			says 1
			lists a b
			lists a b
			moves http://a:1
			saved a
			lists a
			lists a b
			says 2
			lists a b        => target_changed
			moves
			moves http://b:1 => target_changed`,
		"another target that is known": `
			lists a
			moves http://b:1 => target_changed
			moves http://c:1 => target_changed
			saved a b
			lists c          => model_added c
			lists c          => model_removed a, model_removed b`,
		"another target ends the outage": `
			fails
			fails            => degraded
			moves http://b:1 => target_changed
			lists a          => recovered`,
		"another target that is away too": `
			fails
			fails            => degraded
			moves http://b:1 => target_changed
			fails
			fails            => degraded
			probes
			lists a          => recovered`,
		"a URL that is learnt": `
			moves
			fails
			fails            => degraded
			moves http://a:1
			fails
			fails
			probes
			lists            => recovered`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(2)
			for i, line := range strings.Split(strings.TrimSpace(script), "\n") {
				line, want, _ := strings.Cut(line, "=>")
				var got []string
				for _, event := range s.line(t, line) {
					got = append(got, brief(t, event))
				}
				if got := strings.Join(got, ", "); got != strings.TrimSpace(want) {
					t.Fatalf("line %d, %q: told %q, want %q", i+1, strings.TrimSpace(line), got, strings.TrimSpace(want))
				}
			}
		})
	}
}

func TestSettle(t *testing.T) {
	for settle, want := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 2, 5: 5} {
		s := newStory(settle)
		s.line(t, "lists a")
		if told := s.line(t, "lists a"); len(told) > 0 {
			t.Errorf("settle %d: told %v of nothing new", settle, told)
		}
		looks := 1
		for len(s.line(t, "lists")) == 0 {
			looks++
		}
		if looks != want {
			t.Errorf("settle %d: told after %d looks, want %d", settle, looks, want)
		}
	}
}

// TestToldEvents has the events whole, as readers get them.
func TestToldEvents(t *testing.T) {
	s := newStory(1)
	var told []core.Event
	for _, line := range []string{
		"says 0.17.3", "lists a=0123456789abcdef | a", "says 0.17.4", "lists a=fedcba9876543210 b | b",
		"fails", "fails", "fails", "probes", "lists b", "moves http://b:1",
	} {
		told = append(told, s.line(t, line)...)
	}
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	lastSuccess := at(20)
	a, is := "http://a:1", func(version string) core.TargetIdentity {
		return core.TargetIdentity{Backend: "ollama", URL: "http://a:1", Version: version}
	}
	want := []core.Event{
		core.NewEvent(core.EventTargetChanged, at(20), a, "target http://a:1 has version 0.17.4: it had 0.17.3",
			core.TargetChangedData{Was: is("0.17.3"), Now: is("0.17.4")}),
		core.NewEvent(core.EventModelChanged, at(20), a, "model a was replaced: digest fedcba987654, it was 0123456789ab",
			core.ModelData{Model: "a", Digest: "fedcba9876543210", WasDigest: "0123456789abcdef", Size: 7}),
		core.NewEvent(core.EventModelAdded, at(20), a, "model b was installed", core.ModelData{Model: "b", Size: 7}),
		core.NewEvent(core.EventResidentChanged, at(20), a, "loaded b; unloaded a",
			core.ResidentData{Resident: core.Names{"b"}, Loaded: core.Names{"b"}, Unloaded: core.Names{"a"}}),
		core.NewEvent(core.EventDegraded, at(40), a, "target http://a:1 is degraded: connection refused",
			core.DegradedData{Reason: core.ReasonRefused, Error: "connection refused", Failures: 2, LastSuccess: &lastSuccess}),
		core.NewEvent(core.EventRecovered, at(70), a, "target http://a:1 is healthy again after 30s",
			core.RecoveredData{DegradedAt: at(40), DegradedSeconds: 30}),
		core.NewEvent(core.EventModelRemoved, at(70), a, "model a was removed", core.ModelData{Model: "a", Digest: "fedcba9876543210", Size: 7}),
		core.NewEvent(core.EventResidentChanged, at(70), a, "unloaded b", core.ResidentData{Unloaded: core.Names{"b"}}),
		core.NewEvent(core.EventTargetChanged, at(70), "http://b:1", "the target is now http://b:1 (ollama): it was http://a:1 (ollama)",
			core.TargetChangedData{Was: is("0.17.4"), Now: core.TargetIdentity{Backend: "ollama", URL: "http://b:1"}}),
	}
	if diff := cmp.Diff(want, told, compareRaw); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	for _, event := range told {
		if err := validate(t, withID(event)); err != nil {
			t.Errorf("%s: %v", event.Type, err)
		}
	}
}

func TestDegradedFromTheStart(t *testing.T) {
	s := newStory(2)
	s.line(t, "fails")
	told := s.line(t, "fails")
	want := `{"reason":"refused","error":"connection refused","failures":2,"last_success":null}`
	if len(told) != 1 || string(told[0].Data) != want {
		t.Errorf("told %v, want %s", told, want)
	}
}

// compareRaw shows JSON as text.
var compareRaw = cmp.Transformer("text", func(raw json.RawMessage) string { return string(raw) })
