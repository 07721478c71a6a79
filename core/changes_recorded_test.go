package core_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// recordedModels are the entries of a recorded list.
func recordedModels(t *testing.T, file string) (models []core.Model, residents []core.Resident) {
	t.Helper()
	data, err := os.ReadFile(recorded + file)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	var list struct {
		Models []struct {
			Name, Digest string
			Size         int64
			ModifiedAt   time.Time `json:"modified_at"`
			ExpiresAt    time.Time `json:"expires_at"`
		}
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&list); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, m := range list.Models {
		models = append(models, core.Model{Name: m.Name, Digest: m.Digest, Size: m.Size, ModifiedAt: m.ModifiedAt, Raw: []byte(`{}`)})
		residents = append(residents, core.Resident{Name: m.Name, Digest: m.Digest, ExpiresAt: m.ExpiresAt, Raw: []byte(`{}`)})
	}
	return models, residents
}

// without is models but the i-th.
func without(models []core.Model, i int) []core.Model {
	i %= len(models)
	rest := append([]core.Model{}, models[:i]...)
	return append(rest, models[i+1:]...)
}

// TestRecordedFlickerIsNoNews replays what a real Ollama answers while nothing
// is installed or removed for good: lists in any order among models of one
// second, a list with a model missing that is being overwritten, a spurious
// 500, a list that is empty for one answer, and residents whose order,
// listing and unload times move.
func TestRecordedFlickerIsNoNews(t *testing.T) {
	models, _ := recordedModels(t, "tags-many.http")
	none, _ := recordedModels(t, "tags-empty.http")
	if len(models) < 10 || len(none) != 0 {
		t.Fatalf("%d and %d models are recorded", len(models), len(none))
	}
	byName := map[string]core.Model{}
	for _, m := range models {
		m.ModifiedAt = noon // within one second, the order is the server's whim
		byName[m.Name] = m
	}
	orders, err := os.ReadFile(recorded + "tags-order-8-calls.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, residents := recordedModels(t, "ps-many.http")
	s := newStory(2)
	look := func(models []core.Model, turn int) {
		t.Helper()
		var loaded []core.Resident
		for i := range residents { // turned round, and one of them twice
			r := residents[(i+turn)%len(residents)]
			r.ExpiresAt = s.now.Add(time.Duration(turn) * time.Minute)
			loaded = append(loaded, r)
		}
		loaded = append(loaded, loaded[0])
		for _, event := range s.goOn(core.Look{
			Version: "0.17.4", Inventory: core.NewInventory(append([]core.Model{}, models...), ""), Residency: core.NewResidency(loaded),
		}) {
			t.Errorf("told %s: %s", event.Type, event.Sentence)
		}
	}
	fault := &core.Fault{Reason: core.StatusReason(500), Detail: "500 for /api/tags"}
	turn := 0
	for line := range strings.Lines(string(orders)) {
		var ordered []core.Model
		for _, name := range strings.Fields(line)[1:] {
			if _, installed := byName[name]; !installed {
				t.Fatalf("%s isn't among the recorded models", name)
			}
			ordered = append(ordered, byName[name])
		}
		look(ordered, turn)
		look(without(ordered, turn), turn+1)
		if events := s.goOn(core.Look{Poll: core.Poll{Fault: fault}}); len(events) > 0 {
			t.Errorf("told %v of one failed look", events)
		}
		look(ordered, turn+2)
		look(none, turn)
		turn++
	}
	if turn < 7 {
		t.Errorf("%d orders are recorded", turn)
	}
}

// TestRecordedResidents replays a model that is made anew while it is loaded:
// a runner of each digest under one name, of which the newer ends first.
func TestRecordedResidents(t *testing.T) {
	s := newStory(2)
	var told []string
	for _, file := range []string{
		"ps-empty.http", "ps-same-name-twice-after-recreate.http", "ps-same-name-twice-after-recreate.http",
		"ps-after-unload-newer-still-old-digest.http", "ps-same-name-twice-after-recreate.http",
		"ps-after-unload-newer-still-old-digest.http", "ps-after-unload-newer-still-old-digest.http", "ps-empty.http", "ps-empty.http",
	} {
		_, residents := recordedModels(t, file)
		for _, event := range s.goOn(core.Look{Inventory: core.NewInventory(nil, ""), Residency: core.NewResidency(residents)}) {
			told = append(told, event.Sentence+" "+string(event.Data))
		}
	}
	want := []string{
		`loaded tiny:latest {"resident":["tiny:latest"],"loaded":["tiny:latest"],"unloaded":[]}`,
		`unloaded tiny:latest {"resident":["tiny:latest"],"loaded":[],"unloaded":["tiny:latest"]}`,
		`unloaded tiny:latest {"resident":[],"loaded":[],"unloaded":["tiny:latest"]}`,
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
