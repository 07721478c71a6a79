package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// checked is every route whose model is looked up before the target gets the
// request.
var checked = []string{
	"/api/show", "/api/chat", "/api/generate", "/api/embed", "/api/embeddings",
	"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages",
}

// answers is a target that answers whatever comes.
func answers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"answered":%q}`, r.URL.Path)
}

// reached reports whether the request was answered by [answers].
func (a answer) reached(path string) bool {
	return a.status == 200 && a.body == fmt.Sprintf(`{"answered":%q}`, path)
}

// message is an error's sentence in the shape that clients of the path parse.
func message(t *testing.T, path string, a answer) string {
	t.Helper()
	switch {
	case path == "/v1/messages":
		var body struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Type != "error" || body.Error.Type == "" {
			t.Errorf("not Anthropic's shape: %s", a.body)
		}
		return body.Error.Message
	case startsWith(path, "/v1/"):
		return openAIMessage(t, a)
	default:
		return a.native(t)
	}
}

// saved is what is believed at the start of a foreman whose state file holds
// the models, confirmed that long ago.
func saved(age time.Duration, models ...core.Model) *core.Snapshot {
	s := *nothing()
	s.Inventory, s.InventoryAt = core.NewInventory(models, ""), time.Now().Add(-age)
	return &s
}

func TestAdmission(t *testing.T) {
	tiny := named("tiny:latest")
	fail := fails(core.ReasonTimeout)
	fruitless := func(_ context.Context, s *core.Snapshot) *core.Snapshot { return after(s, fails(core.ReasonTimeout)) }
	for name, c := range map[string]struct {
		believed func() *core.Snapshot
		age      time.Duration // that passes before the request
		look     func(context.Context, *core.Snapshot) *core.Snapshot
		missing  int // status for a model that isn't listed
		looks    int // at the target, for such a model
		listed   int // status for one that is
	}{
		"healthy":                      {believed: func() *core.Snapshot { return found(tiny) }, missing: 404, looks: 1, listed: 200},
		"healthy, polled rarely":       {believed: func() *core.Snapshot { return found(tiny) }, age: time.Hour, missing: 404, looks: 1, listed: 200},
		"healthy, one failed poll":     {believed: func() *core.Snapshot { return after(found(tiny), fail) }, age: time.Hour, missing: 404, looks: 1, listed: 200},
		"healthy, the look fails":      {believed: func() *core.Snapshot { return found(tiny) }, age: time.Hour, look: fruitless, missing: 404, looks: 1, listed: 200},
		"degraded for a minute":        {believed: func() *core.Snapshot { return lost(found(tiny)) }, age: time.Minute, missing: 404, listed: 200},
		"degraded for more":            {believed: func() *core.Snapshot { return lost(found(tiny)) }, age: time.Minute + 1, missing: 503, listed: 200},
		"degraded, never polled":       {believed: func() *core.Snapshot { return lost(nothing()) }, missing: 503, listed: 503},
		"degraded, restarted at once":  {believed: func() *core.Snapshot { return lost(saved(30*time.Second, tiny)) }, missing: 404, listed: 200},
		"degraded, restarted later":    {believed: func() *core.Snapshot { return lost(saved(time.Hour, tiny)) }, missing: 503, listed: 200},
		"starting, never polled":       {believed: nothing, look: fruitless, missing: 503, looks: 1, listed: 503},
		"starting, restarted at once":  {believed: func() *core.Snapshot { return saved(30*time.Second, tiny) }, look: fruitless, missing: 404, looks: 1, listed: 200},
		"starting, restarted later":    {believed: func() *core.Snapshot { return saved(time.Hour, tiny) }, look: fruitless, missing: 503, looks: 1, listed: 200},
		"starting, the look gets away": {believed: func() *core.Snapshot { return saved(time.Hour, tiny) }, missing: 503, looks: 1, listed: 200},
	} {
		for _, path := range checked {
			t.Run(name+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					asked := 0
					f := start(t, c.believed(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; answers(w, r) }))
					f.recheck = c.look
					time.Sleep(c.age)
					got := f.do("POST", path, `{"model":"nope"}`)
					if looks, nudges := f.asked(); got.status != c.missing || looks != c.looks || looks+nudges != 1 || asked != 0 {
						t.Errorf("missing: %d %s after %d looks, %d nudges and %d requests; want %d after %d looks", got.status, got.body, looks, nudges, asked, c.missing, c.looks)
					}
					if after := got.header.Get("Retry-After"); (c.missing == 503) != (after == "2") {
						t.Errorf("missing: %d with Retry-After %q", got.status, after)
					}
					if got := f.do("POST", path, `{"model":"tiny"}`); got.status != c.listed || c.listed == 200 && !got.reached(path) {
						t.Errorf("listed: %d %s, want %d", got.status, got.body, c.listed)
					}
				})
			})
		}
	}
}

func TestAMissingModelIsToldInTheCallersShape(t *testing.T) {
	f := start(t, found(named("llama3.2:latest"), named("llama3.2:1b"), named("qwen3:14b")), nil)
	const sentence = `model 'lama3.2' not found; did you mean 'llama3.2:latest', 'llama3.2:1b'?`
	shapes := map[string]string{
		"/v1/":         `{"error":{"code":null,"message":"` + sentence + `","param":null,"type":"api_error"}}`,
		"/v1/messages": `{"error":{"message":"` + sentence + `","type":"not_found_error"},"type":"error"}`,
		"/api/":        `{"error":"` + sentence + `"}`,
	}
	for _, path := range checked {
		shape := shapes[path]
		if shape == "" {
			shape = shapes[path[:strings.Index(path[1:], "/")+2]]
		}
		got := f.do("POST", path, `{"model":"lama3.2"}`)
		got.says(t, 404, shape)
		if is := got.header.Get("Content-Type"); is != "application/json; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", path, is)
		}
		if got.header.Get("Retry-After") != "" {
			t.Errorf("%s: a client is told to try again", path)
		}
	}
	for name, want := range map[string]string{
		"zzz":          `model 'zzz' not found`,
		"llama3.2:7b":  `model 'llama3.2:7b' not found; did you mean 'llama3.2:1b', 'llama3.2:latest'?`,
		"qwen3":        `model 'qwen3' not found; did you mean 'qwen3:14b'?`,
		"a b\n\x1b\"<": "model 'a b\n\x1b\"<' not found",
	} {
		body, err := json.Marshal(map[string]string{"model": name})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.do("POST", "/api/chat", string(body)); got.status != 404 || got.native(t) != want {
			t.Errorf("%q: %d %q, want %q", name, got.status, got.native(t), want)
		}
	}
}

func TestAModelPulledAMomentAgoIsFoundAtOnce(t *testing.T) {
	for _, path := range checked {
		f := start(t, found(), http.HandlerFunc(answers))
		f.recheck = func(context.Context, *core.Snapshot) *core.Snapshot { return found(named("new:latest")) }
		if got := f.do("POST", path, `{"model":"new"}`); !got.reached(path) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestAModelPulledBecauseItWasMissingIsFoundAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), http.HandlerFunc(answers))
		if got := f.do("POST", "/api/chat", `{"model":"new"}`); got.status != 404 {
			t.Errorf("%d %s", got.status, got.body)
		}
		f.recheck = func(context.Context, *core.Snapshot) *core.Snapshot { return found(named("new:latest")) }
		if got := f.do("POST", "/api/chat", `{"model":"new"}`); !got.reached("/api/chat") {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

// The look goes on when the caller who caused it leaves, and nobody is told
// that a model is missing because of that.
func TestAThousandCallersForAMissingModelCauseOneLook(t *testing.T) {
	for name, c := range map[string]struct {
		sees *core.Snapshot
		want int
	}{
		"missing":     {found(named("tiny:latest")), 404},
		"just pulled": {found(named("new:latest")), 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, found(), http.HandlerFunc(answers))
				f.recheck = func(ctx context.Context, s *core.Snapshot) *core.Snapshot {
					select {
					case <-time.After(time.Second):
						return c.sees
					case <-ctx.Done():
						t.Error("the look ended with a caller")
						return s
					}
				}
				began := time.Now()
				var all sync.WaitGroup
				leave := func(after time.Duration) {
					ctx, cancel := context.WithTimeout(t.Context(), after)
					defer cancel()
					req, _ := http.NewRequestWithContext(ctx, "POST", "http://localhost/api/chat", strings.NewReader(`{"model":"new"}`))
					if resp, err := f.client.Do(req); err == nil {
						t.Errorf("a caller who left was answered: %v", resp.Status)
						resp.Body.Close()
					}
				}
				stay := func() {
					if got := f.do("POST", "/api/chat", `{"model":"new"}`); got.status != c.want || time.Since(began) != time.Second {
						t.Errorf("%d after %v: %s", got.status, time.Since(began), got.body)
					}
				}
				all.Go(func() { leave(300 * time.Millisecond) })
				synctest.Wait()
				for range 997 {
					all.Go(stay)
				}
				all.Go(func() { time.Sleep(400 * time.Millisecond); leave(100 * time.Millisecond) })
				all.Go(func() { time.Sleep(600 * time.Millisecond); stay() })
				all.Wait()
				if looks, _ := f.asked(); looks != 1 {
					t.Errorf("%d looks", looks)
				}
			})
		})
	}
}

func TestACallerWhoKeepsAskingForAMissingModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), http.HandlerFunc(answers))
		f.recheck = func(_ context.Context, s *core.Snapshot) *core.Snapshot {
			time.Sleep(300 * time.Millisecond)
			return s
		}
		ask := func() (took time.Duration, got answer) {
			began := time.Now()
			got = f.do("POST", "/api/chat", `{"model":"nope"}`)
			return time.Since(began), got
		}
		ask()
		ask()
		for _, name := range []string{"nope", "NOPE:latest", "library/nope", "https://registry.ollama.ai/library/nope"} {
			began := time.Now()
			got := f.do("POST", "/api/chat", `{"model":"`+name+`"}`)
			if want := "model '" + name + "' not found"; got.status != 404 || got.native(t) != want || time.Since(began) != 0 {
				t.Errorf("%s: %d %s after %v", name, got.status, got.body, time.Since(began))
			}
		}
		before, _ := f.asked()
		const seconds = 20
		slow := 0
		for range seconds * 10 {
			if took, got := ask(); got.status != 404 {
				t.Errorf("%d %s", got.status, got.body)
			} else if took > 0 {
				slow++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if looks, _ := f.asked(); looks-before != slow || slow > seconds || slow < seconds/2 {
			t.Errorf("%d looks in %d seconds, %d answers that took a while", looks-before, seconds, slow)
		}
		f.believe(found(named("nope:latest")))
		if took, got := ask(); took != 0 || !got.reached("/api/chat") {
			t.Errorf("listed now: %d %s after %v", got.status, got.body, took)
		}
	})
}

// Near names are of the list as it is, however often a name was missed before.
func TestNearNamesFollowTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), nil)
		for _, installed := range []string{"llama3.2:1b", "llama3.2:3b"} {
			f.believe(found(named(installed)))
			for range 3 {
				want := "model 'llama3.2' not found; did you mean '" + installed + "'?"
				if got := f.do("POST", "/api/chat", `{"model":"llama3.2"}`); got.native(t) != want {
					t.Errorf("%s, want %s", got.body, want)
				}
			}
			time.Sleep(2 * time.Second)
		}
	})
}

func TestNamesThatAreNotChecked(t *testing.T) {
	allow := func(o *setup) { o.Allow = []string{"GPT-*", "me/alias", "Odd name?", "Plain"} }
	for _, believed := range []*core.Snapshot{found(), lost(nothing())} {
		f := start(t, believed, http.HandlerFunc(answers), allow)
		for _, name := range []string{
			"gpt-oss:cloud", "gpt-oss:120b-cloud", "me/kimi:cloud", "Kimi:CLOUD", "glm:4.6-Cloud", "x-cloud", "a:b:cloud",
			"gpt-4o", "gpt-", "Gpt-4O:latest", "me/alias", "Me/Alias:Latest", "odd name!", "plain", "library/plain", "ODD name!:Latest",
		} {
			for _, path := range []string{"/api/chat", "/v1/chat/completions", "/api/show"} {
				if got := f.do("POST", path, `{"model":"`+name+`"}`); !got.reached(path) {
					t.Errorf("%s, %s: %d %s", believed.Status, name, got.status, got.body)
				}
			}
		}
		if looks, _ := f.asked(); looks != 0 {
			t.Errorf("%d looks", looks)
		}
		for _, name := range []string{"cloud", "cloud:latest", "x:cloudy", "xcloud", "me/gpt-4", "chat-gpt-4", "me/aliases", "me/alias:v1", "plain:v2", "you/plain", "cloud/x"} {
			if got := f.do("POST", "/api/chat", `{"model":"`+name+`"}`); got.status != 404 && got.status != 503 {
				t.Errorf("%s, %s: %d %s", believed.Status, name, got.status, got.body)
			}
		}
	}
}

func TestAModelIsAdmittedUnderEveryOneOfItsNames(t *testing.T) {
	f := start(t, found(named("tiny:latest"), named("me/tiny:v1"), named("hf.co/Me/Tiny-GGUF:Q8_0"),
		named("example.com:5000/library/tiny:v1"), named("mine:local")), http.HandlerFunc(answers))
	var wrong []string
	for name, want := range map[string]int{
		"tiny": 200, "TINY:Latest": 200, "library/tiny": 200, "registry.ollama.ai/library/tiny": 200,
		"https://registry.ollama.ai/library/tiny:latest": 200, "http://Registry.Ollama.AI/Library/Tiny": 200,
		"me/tiny:v1": 200, "ME/Tiny:V1": 200, "hf.co/me/tiny-gguf:q8_0": 200, "https://hf.co/me/tiny-gguf:q8_0": 200,
		"example.com:5000/library/tiny:v1": 200, "mine:local": 200,
		"tiny:local": 200, "Tiny:LOCAL": 200, "tiny:latest:local": 200, "me/tiny:v1:local": 200, "library/tiny:local": 200,

		"me/tiny": 404, "tiny:v1": 404, "you/tiny:v1": 404, "registry.ollama.ai/tiny": 404, "hf.co/tiny": 404,
		"example.com/library/tiny:v1": 404, "mine": 404, "nope:local": 404, "tiny:local:local": 404, "me/tiny:local": 404,
		":local": 404, "tiny ": 404, " tiny": 404, "tiny@sha256:" + digest: 404, digest: 404, digest[:12]: 404, "tiny/": 404, "../tiny": 404,
	} {
		if got := f.do("POST", "/api/chat", `{"model":"`+name+`"}`); got.status != want {
			wrong = append(wrong, fmt.Sprintf("%s: %d, want %d", name, got.status, want))
		}
	}
	slices.Sort(wrong)
	if diff := cmp.Diff([]string(nil), wrong); diff != "" {
		t.Error(diff)
	}
}

func TestAMissingNameIsToldShort(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil)
	got := f.do("POST", "/api/chat", `{"model":"`+strings.Repeat("x", 100_000)+`"}`)
	if said := got.native(t); got.status != 404 || !startsWith(said, "model 'xxx") || !strings.HasSuffix(said, "x…' not found") || len(said) > 600 {
		t.Errorf("%d, %d bytes: %.700s", got.status, len(said), said)
	}
}
