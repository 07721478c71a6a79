//go:build unix

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

// printedList is what a program reads of `-o json`.
type printedList struct {
	SchemaVersion   int `json:"schema_version"`
	Source          string
	Target          struct{ Backend, URL string }
	Stale, Degraded bool
	Models          []struct {
		Name, Digest string
		Size         int64
		Pinned       bool
		ExpiresAt    *string `json:"expires_at"`
		Installed    bool
		Resolved     string
	}
}

func (l printedList) names() []string {
	var names []string
	for _, m := range l.Models {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

// mustList runs a command with -o json.
func mustList(t *testing.T, f *testkit.Foreman, source string, code int, args ...string) printedList {
	t.Helper()
	result := f.Run(append(args, "-o", "json")...)
	var l printedList
	if err := json.Unmarshal([]byte(result.Stdout), &l); err != nil {
		t.Fatalf("foreman %q: %v in\n%s\n%s", args, err, result.Stdout, result.Stderr)
	}
	if result.Code != code || l.SchemaVersion != 1 || l.Source != source {
		t.Errorf("foreman %q: exit code %d, schema %d, source %q; want %d, 1, %q\n%s",
			args, result.Code, l.SchemaVersion, l.Source, code, source, result.Stderr)
	}
	return l
}

func mustExit(t *testing.T, f *testkit.Foreman, code int, args ...string) testkit.Result {
	t.Helper()
	result := f.Run(args...)
	if result.Code != code {
		t.Errorf("foreman %q: exit code %d, want %d\n%s%s", args, result.Code, code, result.Stdout, result.Stderr)
	}
	return result
}

// TestE2ECommands runs each command against the target alone, beside a
// daemon, and while the target is away.
func TestE2ECommands(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	load(t, o, "tiny", "-1")
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: o.URL, Poll: fastPoll})

	mustExit(t, f, exitCantTell, "health")
	commandsWork(t, f, o, "target")

	f.Start()
	awaitHealth(t, f, soon, healthy)
	mustExit(t, f, exitYes, "health")
	commandsWork(t, f, o, "daemon")
	if l := mustList(t, f, "target", exitYes, "inventory", "--source", "target"); len(l.Models) != len(testkit.Names) {
		t.Errorf("inventory of the target: %v", l.names())
	}

	o.Kill()
	mustDegrade(t, f, "refused")
	var health testkit.Health
	told := mustExit(t, f, exitNo, "health", "-o", "json")
	if err := json.Unmarshal([]byte(told.Stdout), &health); err != nil || degraded("refused")(health) != nil {
		t.Errorf("health: %v, %v\n%s", err, degraded("refused")(health), told.Stdout)
	}
	l := mustList(t, f, "daemon", exitYes, "inventory")
	if !l.Stale || !l.Degraded || len(l.Models) != len(testkit.Names) {
		t.Errorf("inventory of a target that is away: %+v", l)
	}
	mustExit(t, f, exitYes, "validate", "tiny")
	mustExit(t, f, exitNo, "validate", "nope") // confirmed a moment ago
	mustExit(t, f, exitCantTell, "inventory", "--source", "target")
	mustExit(t, f, exitCantTell, "validate", "--source", "target", "tiny")
}

// commandsWork is all that holds whether the daemon answers or the target.
func commandsWork(t *testing.T, f *testkit.Foreman, o *testkit.Ollama, source string) {
	t.Helper()
	l := mustList(t, f, source, exitYes, "inventory")
	mustEqual(t, "inventory", slices.Sorted(slices.Values(testkit.Names)), l.names())
	if l.Target.URL != o.URL || l.Target.Backend != "ollama" || l.Stale || l.Degraded || len(l.Models[0].Digest) != 64 || l.Models[0].Size == 0 {
		t.Errorf("inventory: %+v", l)
	}
	names := mustExit(t, f, exitYes, "inventory", "-o", "name")
	mustEqual(t, "inventory -o name", l.names(), strings.Fields(strings.Join(sortedLines(names.Stdout), "")))

	l = mustList(t, f, source, exitYes, "ps")
	if len(l.Models) != 1 || l.Models[0].Name != "tiny:latest" || !l.Models[0].Pinned || l.Models[0].ExpiresAt != nil {
		t.Errorf("ps: %+v", l)
	}

	l = mustList(t, f, source, exitYes, "validate", "ME/Tiny:V1", "registry.ollama.ai/library/tiny")
	if len(l.Models) != 2 || !l.Models[0].Installed || l.Models[0].Resolved != "me/tiny:v1" || l.Models[1].Resolved != "tiny:latest" {
		t.Errorf("validate: %+v", l)
	}
	if result := mustExit(t, f, exitNo, "validate", "tiny", "tinny-tools"); !strings.Contains(result.Stdout, "did you mean tiny-tools:latest") {
		t.Errorf("validate offers no near name:\n%s", result.Stdout)
	}
}

func TestE2EValidateLooksAgainBeforeItSaysNo(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	f := serveFor(t, testkit.Settings{Target: o.URL, Poll: `interval = "1h"`})
	o.Create("fresh:v1")
	mustExit(t, f, exitYes, "validate", "fresh:v1")
	o.Delete("fresh:v1")
	if answer := getFresh(t, f, "/api/tags"); strings.Contains(string(answer.Body), "fresh:v1") {
		t.Errorf("a fresh list shows a model that was deleted:\n%s", answer.Body)
	}
	mustExit(t, f, exitNo, "validate", "fresh:v1")
}
