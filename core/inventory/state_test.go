package inventory_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/inventory"
)

const url = "http://127.0.0.1:11434"

// known is a snapshot as after one good poll.
func known(at time.Time, models ...core.Model) *core.Snapshot {
	return (&core.Snapshot{Backend: "ollama", URL: url}).After(core.Look{
		Poll: core.Poll{At: at}, Version: "0.17.4",
		Inventory: core.NewInventory(models, "f"), Residency: core.NewResidency(nil),
	}, core.Thresholds{Fall: 3, Rise: 2})
}

// save has state see the snapshots, and returns once it has run.
func save(t *testing.T, state *inventory.State, snapshots ...*core.Snapshot) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	i := -1
	watch := func() (*core.Snapshot, <-chan struct{}) {
		superseded := make(chan struct{})
		if i+1 < len(snapshots) {
			i++
			close(superseded)
		} else {
			cancel()
		}
		return snapshots[i], superseded
	}
	if err := state.Run(ctx, watch); err != nil {
		t.Fatal(err)
	}
}

func TestInventorySurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	models := []core.Model{
		{Name: "new:latest", Digest: "ab", Size: 7, ModifiedAt: at, Family: "llama", Raw: []byte(`{"name":"new:latest","unheard_of":"<&>"}`)},
		{Name: "old:latest", ModifiedAt: at.Add(-time.Hour), Raw: []byte(`{"name":"old:latest"}`)},
	}
	before := known(at, models...)
	save(t, inventory.NewState(dir, slog.New(slog.DiscardHandler)), &core.Snapshot{Backend: "ollama", URL: url}, before)

	restored := inventory.NewState(dir, slog.New(slog.DiscardHandler)).Load(core.Snapshot{Backend: "ollama", URL: url})
	if diff := cmp.Diff(string(before.Inventory.Tags.Body), string(restored.Inventory.Tags.Body)); diff != "" {
		t.Errorf("/api/tags after the restart (-before +after):\n%s", diff)
	}
	if !restored.InventoryAt.Equal(at) || restored.Version != "0.17.4" || restored.URL != url || !restored.InventoryStale() {
		t.Errorf("restored as of %v, version %q, url %q, stale %t", restored.InventoryAt, restored.Version, restored.URL, restored.InventoryStale())
	}

	other := inventory.NewState(dir, slog.New(slog.DiscardHandler)).Load(core.Snapshot{Backend: "ollama", URL: "http://other:11434"})
	if other.Inventory != nil {
		t.Error("another target got this one's inventory")
	}
}

func TestUnusableStateIsSetAside(t *testing.T) {
	for name, content := range map[string]string{
		"empty":           "",
		"cut":             `{"schema_version":1,"models":[{"Name":"a"`,
		"garbage":         "\x00\x01\x02",
		"from the future": `{"schema_version":2,"models":[]}`,
		"a model of none": `{"schema_version":1,"models":[{"Name":"a"}]}`,
		"not an object":   `[]`,
		"no models":       `{"schema_version":1,"as_of":"2026-11-23T08:00:00Z"}`,
		"null models":     `{"schema_version":1,"as_of":"2026-11-23T08:00:00Z","models":null}`,
		"no time":         `{"schema_version":1,"models":[]}`,
		"a time to come":  `{"schema_version":1,"as_of":"2999-11-23T08:00:00Z","models":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var log bytes.Buffer
			state := inventory.NewState(dir, slog.New(slog.NewTextHandler(&log, nil)))
			save(t, state, &core.Snapshot{}, known(time.Now()))
			file := only(t, dir)
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := state.Load(core.Snapshot{Backend: "ollama", URL: url}); got.Inventory != nil {
				t.Errorf("loaded %v", got.Inventory)
			}
			if !strings.Contains(log.String(), "level=WARN") {
				t.Error("nobody was warned")
			}
			if aside, err := os.ReadFile(file + ".corrupt"); err != nil || string(aside) != content {
				t.Errorf("set aside: %q, %v", aside, err)
			}
		})
	}
}

func TestSaveThatFailsIsAWarning(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "state")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil { // where a directory should be
		t.Fatal(err)
	}
	var log bytes.Buffer
	state := inventory.NewState(blocked, slog.New(slog.NewTextHandler(&log, nil)))
	save(t, state, &core.Snapshot{}, known(time.Now()), known(time.Now()))
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, log.String())
	}
}

func TestKilledSaveLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	state := inventory.NewState(dir, slog.New(slog.DiscardHandler))
	save(t, state, &core.Snapshot{}, known(time.Now()))
	file := only(t, dir)
	if err := os.WriteFile(file+".tmp-123", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := state.Load(core.Snapshot{Backend: "ollama", URL: url}); got.Inventory == nil {
		t.Error("the whole file wasn't loaded")
	}
	only(t, dir)
}

func TestUnchangedInventoryIsSavedNowAndThen(t *testing.T) {
	dir := t.TempDir()
	state := inventory.NewState(dir, slog.New(slog.DiscardHandler))
	first := known(time.Now())
	again := func(later time.Duration) *core.Snapshot {
		s := *first
		s.InventoryAt = first.InventoryAt.Add(later)
		return &s
	}
	loaded := func() time.Duration {
		return state.Load(core.Snapshot{Backend: "ollama", URL: url}).InventoryAt.Sub(first.InventoryAt)
	}
	save(t, state, &core.Snapshot{}, first, again(time.Minute))
	if got := loaded(); got != time.Minute {
		t.Errorf("on the way out the file was saved as of %v later, want 1m", got)
	}
}

// only is the one file in dir.
func only(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files in the state directory: %q, %v", files, err)
	}
	return files[0]
}

func TestEachTargetHasItsOwnState(t *testing.T) {
	dir, at := t.TempDir(), time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	first := known(at, core.Model{Name: "here:latest", Raw: []byte(`{}`)})
	second := known(at, core.Model{Name: "there:latest", Raw: []byte(`{}`)})
	second.URL = "http://there:11434"
	state := inventory.NewState(dir, slog.New(slog.DiscardHandler))
	save(t, state, &core.Snapshot{Backend: "ollama", URL: url}, first, &core.Snapshot{Backend: "ollama", URL: second.URL}, second)
	for _, want := range []*core.Snapshot{first, second} {
		got := state.Load(core.Snapshot{Backend: "ollama", URL: want.URL})
		if got.Inventory == nil || got.Inventory.Models[0].Name != want.Inventory.Models[0].Name {
			t.Errorf("of %s: %+v", want.URL, got.Inventory)
		}
	}
}
