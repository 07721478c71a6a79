package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// openAIMessage is an error's sentence, if it has the shape that OpenAI's
// clients parse.
func openAIMessage(t *testing.T, a answer) string {
	t.Helper()
	type detail struct {
		Message, Type string
		Param, Code   any
	}
	var body map[string]detail
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	want := map[string]detail{"error": {Message: body["error"].Message, Type: "api_error"}}
	if a.status == http.StatusBadRequest { // as in testdata/ollama/v1chat-badjson.http
		want["error"] = detail{Message: body["error"].Message, Type: "invalid_request_error"}
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("not OpenAI's shape (-want +got):\n%s", diff)
	}
	return body["error"].Message
}

func TestOpenAIModels(t *testing.T) {
	f := start(t, found(
		model(`{"name":"tiny:latest","modified_at":"2026-11-23T08:19:04Z"}`),
		model(`{"name":"hf.co/Me/Tiny-GGUF:Q8_0","modified_at":"2026-11-24T08:19:04+01:00"}`),
	), nil)
	got := f.get("/v1/models")
	got.says(t, 200, `{"object":"list","data":[
		{"id":"hf.co/Me/Tiny-GGUF:Q8_0","object":"model","created":1795504744,"owned_by":"me"},
		{"id":"tiny:latest","object":"model","created":1795421944,"owned_by":"library"}]}`)
	if is := got.header.Get("Content-Type"); is != "application/json" {
		t.Errorf("Content-Type %q, unlike Ollama's", is)
	}
}

func TestOpenAIModelIsFoundUnderEveryOneOfItsNames(t *testing.T) {
	f := start(t, found(
		model(`{"name":"tiny:latest","modified_at":"2026-11-23T08:19:04Z"}`),
		model(`{"name":"me/tiny:v1","modified_at":"2026-11-23T08:19:05Z"}`),
		model(`{"name":"example.com:5000/library/tiny:v1","modified_at":"2026-11-23T08:19:06Z"}`),
	), nil)
	for path, want := range map[string]string{
		"tiny":            `{"id":"tiny","object":"model","created":1795421944,"owned_by":"library"}`,
		"TINY:Latest":     `{"id":"TINY:Latest","object":"model","created":1795421944,"owned_by":"library"}`,
		"t%69ny%3alatest": `{"id":"tiny:latest","object":"model","created":1795421944,"owned_by":"library"}`,
		"library/tiny":    `{"id":"library/tiny","object":"model","created":1795421944,"owned_by":"library"}`,
		"https:%2F%2Fregistry.ollama.ai%2Flibrary%2Ftiny": `{"id":"https://registry.ollama.ai/library/tiny","object":"model","created":1795421944,"owned_by":"library"}`,
		"me/tiny:v1":                       `{"id":"me/tiny:v1","object":"model","created":1795421945,"owned_by":"me"}`,
		"me%2Ftiny%3Av1":                   `{"id":"me/tiny:v1","object":"model","created":1795421945,"owned_by":"me"}`,
		"ME/Tiny:V1":                       `{"id":"ME/Tiny:V1","object":"model","created":1795421945,"owned_by":"me"}`,
		"me/tiny:v1?a=b":                   `{"id":"me/tiny:v1","object":"model","created":1795421945,"owned_by":"me"}`,
		"example.com:5000/library/tiny:v1": `{"id":"example.com:5000/library/tiny:v1","object":"model","created":1795421946,"owned_by":"library"}`,
		"example.com%3A5000%2Flibrary%2Ftiny%3Av1": `{"id":"example.com:5000/library/tiny:v1","object":"model","created":1795421946,"owned_by":"library"}`,
	} {
		t.Run(path, func(t *testing.T) { f.get("/v1/models/"+path).says(t, 200, want) })
	}
}

func TestOpenAIModelThatIsMissing(t *testing.T) {
	f := start(t, found(named("llama3.2:latest"), named("llama3.2:1b"), named("qwen3:14b")), nil)
	for path, want := range map[string]string{
		"lama3.2":     "model 'lama3.2' not found; did you mean 'llama3.2:latest'",
		"llama3.2:7b": "model 'llama3.2:7b' not found; did you mean 'llama3.2:1b'",
		"zzz":         "model 'zzz' not found",
		"../tags":     "model '../tags' not found",
		"/llama3.2":   "model '/llama3.2' not found",
		"a%20b%0A%22": "model 'a b\n\"' not found",
	} {
		got := f.get("/v1/models/" + path)
		if is := openAIMessage(t, got); got.status != 404 || !startsWith(is, want) {
			t.Errorf("%s: %d %q, want 404 %q", path, got.status, is, want)
		}
	}
}

func TestOpenAIModelThatWasJustPulledIsFound(t *testing.T) {
	f := start(t, found(), nil)
	f.recheck = func(context.Context, *core.Snapshot) *core.Snapshot { return found(named("new:latest")) }
	if got := f.get("/v1/models/new"); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if rechecks, _ := f.asked(); rechecks != 1 {
		t.Errorf("%d rechecks", rechecks)
	}
}

// A target that is away can't be asked about a model that isn't in the list:
// for a minute the list is good for a no, then nobody can tell.
func TestOpenAIModelMissingWhileTheTargetIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(named("tiny:latest")), nil)
		f.recheck = func(_ context.Context, s *core.Snapshot) *core.Snapshot { return s }
		check := func(when string, want int) {
			t.Helper()
			got := f.get("/v1/models/nope")
			openAIMessage(t, got)
			if got.status != want || (got.header.Get("Retry-After") == "2") != (want == 503) {
				t.Errorf("%s: %d %v, want %d", when, got.status, got.header, want)
			}
			if got := f.get("/v1/models/tiny"); got.status != 200 {
				t.Errorf("%s: one that is there: %d", when, got.status)
			}
		}
		time.Sleep(time.Hour)
		check("healthy", 404)
		f.believe(lost(found(named("tiny:latest"))))
		check("just gone", 404)
		time.Sleep(time.Minute)
		check("gone for a minute", 404)
		time.Sleep(time.Second)
		check("gone for more", 503)

		saved := *nothing()
		saved.Inventory, saved.InventoryAt = core.NewInventory([]core.Model{named("tiny:latest")}, ""), time.Now().Add(-time.Hour)
		f.believe(&saved)
		check("restarted while it is away", 503)
	})
}

func TestOpenAIOff(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, func(o *setup) { o.OpenAI = false })
	for _, path := range []string{"/v1/models", "/v1/models/tiny", "/v1/chat/completions", "/v1/messages", "/v1/"} {
		for _, method := range []string{"GET", "POST"} {
			if got := f.do(method, path, ""); got.status != 404 {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
		}
	}
	if got := f.get("/api/tags"); got.status != 200 {
		t.Errorf("/api/tags: %d", got.status)
	}
}

// What a server adds to its entries reaches its clients.
func TestOpenAIModelsOfATargetThatSpeaksOnlyV1(t *testing.T) {
	const (
		served = `{"name":"org/Big","modified_at":"2026-11-23T08:19:04Z","id":"org/Big","object":"model","owned_by":"vllm","max_model_len":4096}`
		plain  = `{"name":"plain","modified_at":"2026-11-22T08:19:04Z"}` // of a plugin that says no more
	)
	var down atomic.Bool
	f := start(t, found(model(plain), model(served)), nil, func(o *setup) {
		o.Upstream = func() (core.Upstream, error) {
			if down.Load() {
				return core.Upstream{}, core.ErrUnavailable
			}
			return core.Upstream{URL: upstream, V1Only: true}, nil
		}
	})
	for _, name := range []string{"up", "down"} {
		got := f.get("/v1/models")
		got.says(t, 200, `{"object":"list","data":[`+served+`,{"id":"plain","object":"model","created":1795335544,"owned_by":"library"}]}`)
		if again := f.get("/v1/models", "If-None-Match: "+got.header.Get("ETag")); again.status != 304 {
			t.Errorf("%s: asked again: %d", name, again.status)
		}
		f.get("/v1/models/org%2Fbig").says(t, 200, served)
		f.get("/v1/models/Plain").says(t, 200, `{"id":"Plain","object":"model","created":1795335544,"owned_by":"library"}`)
		down.Store(true)
	}
}
