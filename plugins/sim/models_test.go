package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

type tagsEntry struct {
	Name   string
	Model  string
	Digest string
	Size   int64
	Color  string // unknown to everybody
}

type tagsList struct{ Models []tagsEntry }

func names(t *testing.T, s *sim.Server) []string {
	t.Helper()
	var all []string
	for _, m := range decodeJSON[tagsList](t, call(s, "GET", "/api/tags", "").Body.String()).Models {
		all = append(all, m.Name)
	}
	return all
}

func TestTagsFollowWhatIsInstalled(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := sim.New(sim.Options{Models: []sim.Model{
		{Name: "old", ModifiedAt: at},
		{Name: "new:v1", ModifiedAt: at.Add(time.Minute)},
	}})
	check := func(step string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, names(t, s)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
		var ids []string
		list := decodeJSON[struct{ Data []struct{ ID string } }](t, call(s, "GET", "/v1/models", "").Body.String())
		for _, m := range list.Data {
			ids = append(ids, m.ID)
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("%s, /v1/models (-want +got):\n%s", step, diff)
		}
	}
	check("at the start", "new:v1", "old:latest")
	s.Install(sim.Model{Name: "library/Newest", ModifiedAt: at.Add(time.Hour)})
	check("installed", "Newest:latest", "new:v1", "old:latest")
	s.Install(sim.Model{Name: "OLD:latest", Size: 7, ModifiedAt: at.Add(2 * time.Hour)})
	check("overwritten under another spelling", "OLD:latest", "Newest:latest", "new:v1")
	s.Remove("registry.ollama.ai/library/NEW:v1")
	check("removed", "OLD:latest", "Newest:latest")
	s.SetModels([]sim.Model{{Name: "only"}})
	check("replaced", "only:latest")
}

func TestNamesAreListedAsOllamaListsThem(t *testing.T) {
	for written, want := range map[string]string{
		"tiny":                               "tiny:latest",
		"Tiny:Q8_0":                          "Tiny:Q8_0",
		"me/Tiny":                            "me/Tiny:latest",
		"registry.ollama.ai/library/tiny:v1": "tiny:v1",
		"https://hf.co/me/Tiny-GGUF:Q8_0":    "hf.co/me/Tiny-GGUF:Q8_0",
		"example.com:5000/library/tiny":      "example.com:5000/library/tiny:latest",
		"not a name\x1b[2J":                  "not a name\x1b[2J",
		"broken\xff":                         "broken\uFFFD",
	} {
		s := sim.New(sim.Options{Models: []sim.Model{{Name: written}}})
		if diff := cmp.Diff([]string{want}, names(t, s)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", written, diff)
		}
	}
}

func TestEntriesHaveDigestsAndExtraFields(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "x", Size: 3, Extra: map[string]any{"color": "blue"}}}})
	got := decodeJSON[tagsList](t, call(s, "GET", "/api/tags", "").Body.String())
	digest := got.Models[0].Digest
	if len(digest) != 64 || strings.Trim(digest, "0123456789abcdef") != "" {
		t.Errorf("digest %q isn't 64 hex digits", digest)
	}
	want := tagsList{[]tagsEntry{{Name: "x:latest", Model: "x:latest", Digest: digest, Size: 3, Color: "blue"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestShuffleKeepsSecondsInOrder(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var models []sim.Model
	for i := range 20 {
		models = append(models, sim.Model{Name: fmt.Sprintf("m%02d", i), ModifiedAt: at.Add(time.Duration(i) * time.Millisecond)})
	}
	models = append(models, sim.Model{Name: "newer", ModifiedAt: at.Add(time.Second)})
	s := sim.New(sim.Options{Models: models})
	body := func() string { return call(s, "GET", "/api/tags", "").Body.String() }
	if first := body(); body() != first {
		t.Error("the order changes without Shuffle")
	}
	s.Shuffle(true)
	orders := map[string]bool{}
	for range 5 {
		list := names(t, s)
		if list[0] != "newer:latest" || len(list) != 21 {
			t.Fatalf("the newer one isn't first of 21: %q", list)
		}
		orders[strings.Join(list, " ")] = true
	}
	if len(orders) < 2 {
		t.Error("five reads gave one order")
	}
}

func TestEveryRouteFindsAModelByAnySpelling(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "Tiny"}}, Instant: true})
	for _, name := range []string{"tiny", "TINY:Latest", "library/tiny", "https://registry.ollama.ai/library/tiny:latest"} {
		for path, body := range map[string]string{
			"/api/show":            `{"model":%q}`,
			"/api/generate":        `{"model":%q,"prompt":"hi","stream":false}`,
			"/api/chat":            `{"model":%q,"messages":[{"role":"user","content":"hi"}],"stream":false}`,
			"/api/embed":           `{"model":%q,"input":"hi"}`,
			"/api/embeddings":      `{"model":%q,"prompt":"hi"}`,
			"/v1/chat/completions": `{"model":%q,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}`,
			"/v1/completions":      `{"model":%q,"prompt":"hi"}`,
			"/v1/embeddings":       `{"model":%q,"input":"hi"}`,
		} {
			w := call(s, "POST", path, fmt.Sprintf(body, name))
			if w.Code != 200 {
				t.Errorf("%s %q: %d %s", path, name, w.Code, w.Body)
			}
			echo := decodeJSON[struct{ Model string }](t, w.Body.String()).Model
			if echo != "" && echo != name {
				t.Errorf("%s %q: echoes %q", path, name, echo)
			}
		}
	}
}

func TestDemoShowsWhatThereIsToSee(t *testing.T) {
	s := sim.New(sim.Options{})
	var embeds, namespaced bool
	for _, m := range sim.Demo() {
		embeds = embeds || m.Embedding
		namespaced = namespaced || strings.Contains(m.Name, "/")
		s.Load(m.Name)
	}
	if len(names(t, s)) < 4 || !embeds || !namespaced {
		t.Errorf("models %q, one embeds: %v, one has a namespace: %v", names(t, s), embeds, namespaced)
	}
}

func BenchmarkTags(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		models := make([]sim.Model, n)
		for i := range models {
			models[i] = sim.Model{Name: fmt.Sprintf("bench/model-%06d:v1", i), Size: int64(i)}
		}
		b.Run(fmt.Sprint(n, "/cached"), func(b *testing.B) {
			s := sim.New(sim.Options{Models: models})
			for b.Loop() {
				call(s, "GET", "/api/tags", "")
			}
		})
		b.Run(fmt.Sprint(n, "/changed"), func(b *testing.B) {
			s := sim.New(sim.Options{Models: models})
			for b.Loop() {
				s.Install(models[0])
				call(s, "GET", "/api/tags", "")
			}
		})
	}
}
