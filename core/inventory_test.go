package core_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func model(name string, age time.Duration) core.Model {
	return core.Model{Name: name, ModifiedAt: noon.Add(-age), Raw: fmt.Appendf(nil, `{"name":%q,"unheard_of":[1,{}]}`, name)}
}

func TestInventoryRepliesAreSortedAndKeepUnknownFields(t *testing.T) {
	inv := core.NewInventory([]core.Model{
		model("b:latest", time.Hour), model("newest:latest", 0), model("me/a:v1", time.Hour), model("old:latest", 2*time.Hour),
	}, "")
	want := `{"models":[{"name":"newest:latest","unheard_of":[1,{}]},{"name":"b:latest","unheard_of":[1,{}]},` +
		`{"name":"me/a:v1","unheard_of":[1,{}]},{"name":"old:latest","unheard_of":[1,{}]}]}`
	if diff := cmp.Diff(want, string(inv.Tags.Body)); diff != "" {
		t.Errorf("/api/tags (-want +got):\n%s", diff)
	}
	want = `{"object":"list","data":[{"id":"newest:latest","object":"model","created":1795435200,"owned_by":"library"},` +
		`{"id":"b:latest","object":"model","created":1795431600,"owned_by":"library"},` +
		`{"id":"me/a:v1","object":"model","created":1795431600,"owned_by":"me"},` +
		`{"id":"old:latest","object":"model","created":1795428000,"owned_by":"library"}]}`
	if diff := cmp.Diff(want, string(inv.OpenAI.Body)); diff != "" {
		t.Errorf("/v1/models (-want +got):\n%s", diff)
	}
}

func TestInventoryReplyDependsOnContentOnly(t *testing.T) {
	a, b, c := model("a:latest", 0), model("b:latest", 0), model("c:latest", 0)
	first := core.NewInventory([]core.Model{a, b, c}, "one")
	if other := core.NewInventory([]core.Model{c, a, b}, "two"); other.Tags.ETag != first.Tags.ETag {
		t.Error("the order that the target happened to list them in changed the ETag")
	}
	if other := core.NewInventory([]core.Model{a, b}, "one"); other.Tags.ETag == first.Tags.ETag {
		t.Error("a model less, and the ETag stays")
	}
}

func TestEmptyInventoryIsNeverNull(t *testing.T) {
	inv := core.NewInventory(nil, "")
	got := []string{string(inv.Tags.Body), string(inv.OpenAI.Body), string(core.NewResidency(nil).PS.Body)}
	want := []string{`{"models":[]}`, `{"object":"list","data":[]}`, `{"models":[]}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestInventoryV1KeepsTheEntriesOfTheTarget(t *testing.T) {
	own := core.Model{Name: "a", Raw: json.RawMessage(`{"name":"a","id":"a","meta":{"n":1}}`), ModifiedAt: noon}
	inv := core.NewInventory([]core.Model{model("b", time.Hour), own}, "")
	want := `{"object":"list","data":[{"name":"a","id":"a","meta":{"n":1}},{"id":"b","object":"model","created":1795431600,"owned_by":"library"}]}`
	if diff := cmp.Diff(want, string(inv.V1().Body)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if first, second := inv.V1(), inv.V1(); &first.Body[0] != &second.Body[0] {
		t.Error("it is encoded for each who asks")
	}
	if none := string(core.NewInventory(nil, "").V1().Body); none != `{"object":"list","data":[]}` {
		t.Errorf("of no models: %s", none)
	}
}

func TestInventoryFindsByTheRuleForNames(t *testing.T) {
	older := model("TINY:Latest", time.Hour)
	inv := core.NewInventory([]core.Model{older, model("tiny:latest", 0), model("me/tiny:v1", 0), model("not a name", 0)}, "")
	if len(inv.Models) != 3 {
		t.Errorf("%d models listed, want 3: the older of two of one name goes", len(inv.Models))
	}
	for asked, want := range map[string]string{
		"tiny": "tiny:latest", "Library/TINY": "tiny:latest", "https://registry.ollama.ai/library/tiny:latest": "tiny:latest",
		"ME/tiny:V1": "me/tiny:v1", "me/tiny": "", "nope": "",
	} {
		name, err := core.ParseModelName(asked)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := inv.Find(name); got.Name != want || ok != (want != "") {
			t.Errorf("Find(%s) = %q, %t; want %q", asked, got.Name, ok, want)
		}
	}
	var none *core.Inventory
	if _, ok := none.Find(core.ModelName{}); ok || none.Near("tiny") != nil {
		t.Error("no inventory found something")
	}
}

func TestNear(t *testing.T) {
	installed := []string{"llama3.2:latest", "llama3.2:1b", "qwen2.5-coder:7b", "nomic-embed-text:latest", "me/mistral:v1"}
	for asked, want := range map[string][]string{
		"lama3.2":       {"llama3.2:latest", "llama3.2:1b"},
		"LLAMA3.2:3b":   {"llama3.2:1b", "llama3.2:latest"},
		"qwen2.5-coder": {"qwen2.5-coder:7b"},
		"zzzzzzzz":      nil,
	} {
		if diff := cmp.Diff(want, core.Near(asked, installed)); diff != "" {
			t.Errorf("Near(%s) (-want +got):\n%s", asked, diff)
		}
	}
}

func TestResidentPinned(t *testing.T) {
	// As Ollama 0.17.4 wrote it for keep_alive -1.
	var forever time.Time
	if err := json.Unmarshal([]byte(`"2319-03-05T08:08:43.15078036Z"`), &forever); err != nil {
		t.Fatal(err)
	}
	if !(core.Resident{ExpiresAt: forever}).Pinned(noon) {
		t.Error("a model that is loaded for 292 years isn't pinned")
	}
	if (core.Resident{ExpiresAt: noon.Add(24 * time.Hour)}).Pinned(noon) {
		t.Error("a model that is loaded for a day is pinned")
	}
}
