package openai

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// never is the time at which what has none unloads, in JSON.
const never = `"9999-12-31T23:59:59Z"`

func llamaServer(t *testing.T) *server {
	return recorded(t, map[string]string{"/v1/models": "llamacpp-models.json", "/props": "llamacpp-props.json"})
}

func TestLlamaServer(t *testing.T) {
	b := configured(t, core.Settings{URL: llamaServer(t).url})
	created := time.Unix(firstAnswer, 0).UTC()
	const sent = `"id":"gemma-3-4b-it","aliases":["gemma-3-4b-it"],"tags":[],"object":"model","owned_by":"llamacpp",
		"meta":{"vocab_type":1,"n_vocab":262144,"n_ctx_train":131072,"n_embd":2560,"n_params":3880099328,"size":2482110464}}`
	wantModels := []core.Model{{
		Name: "gemma-3-4b-it", Size: 2482110464, ModifiedAt: created, ParameterSize: "3.9B",
		Raw: json.RawMessage(`{"name":"gemma-3-4b-it","model":"gemma-3-4b-it","modified_at":"2026-09-21T14:13:20Z","size":2482110464,
			"digest":"","details":{"family":"","parameter_size":"3.9B","quantization_level":""},"created":1790000000,` + sent),
	}}
	if diff := cmp.Diff(wantModels, mustModels(t, b, "").Models, rawAsValue); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	wantResidents := []core.Resident{{
		Name: "gemma-3-4b-it", ContextLength: 8192, ExpiresAt: core.EndOfTime,
		Raw: json.RawMessage(`{"name":"gemma-3-4b-it","model":"gemma-3-4b-it","size":0,"digest":"",
			"details":{"family":"","parameter_size":"3.9B","quantization_level":""},
			"expires_at":` + never + `,"size_vram":0,"context_length":8192,` + sent),
	}}
	if diff := cmp.Diff(wantResidents, mustRunning(t, b), rawAsValue); diff != "" {
		t.Errorf("residents (-want +got):\n%s", diff)
	}
	if version := mustProbe(t, b); version != "b8681-0a1b2c3d4" {
		t.Errorf("version %q", version)
	}
}

func TestLlamaServerAsleep(t *testing.T) {
	s := llamaServer(t)
	s.say("/props", 200, `{"default_generation_settings":{},"is_sleeping":true}`)
	b := configured(t, core.Settings{URL: s.url})
	if got := mustRunning(t, b); len(got) != 0 {
		t.Errorf("%s is resident while it sleeps", got[0].Name)
	}
	if got := mustModels(t, b, "").Models; len(got) != 1 {
		t.Errorf("%d models while it sleeps", len(got))
	}
}

// Its /props may want a key that it isn't told.
func TestLlamaServerThatGuardsItsProps(t *testing.T) {
	s := llamaServer(t)
	s.say("/props", 401, `{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}`)
	b := configured(t, core.Settings{URL: s.url})
	if got := mustRunning(t, b); len(got) != 1 {
		t.Errorf("%d residents, want its model", len(got))
	}
	if version := mustProbe(t, b); version != "" {
		t.Errorf("version %q", version)
	}
}

func TestLlamaServerWhileItLoads(t *testing.T) {
	s := newServer(t)
	s.other = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(readFile(t, "llamacpp-loading.json"))
	}
	b := configured(t, core.Settings{URL: s.url})
	_, probe := b.Probe(t.Context())
	_, models := b.Models(t.Context(), "")
	_, running := b.Running(t.Context())
	for what, err := range map[string]error{"Probe": probe, "Models": models, "Running": running} {
		fault := core.FaultOf(err)
		want := core.Fault{Reason: "status_503", Detail: "GET " + s.url + "/v1/models: status 503: Loading model"}
		if *fault != want {
			t.Errorf("%s: %+v", what, *fault)
		}
	}
	// Nothing of it is remembered.
	s.say("/v1/models", 200, string(readFile(t, "llamacpp-models.json")))
	s.say("/props", 200, string(readFile(t, "llamacpp-props.json")))
	if version := mustProbe(t, b); version == "" {
		t.Error("no version once it is loaded")
	}
}

func TestLlamaRouter(t *testing.T) {
	s := recorded(t, map[string]string{"/v1/models": "llamacpp-router-models.json", "/props": "llamacpp-router-props.json"})
	b := configured(t, core.Settings{URL: s.url})
	list := mustModels(t, b, "")
	var names []string
	for _, m := range list.Models {
		names = append(names, m.Name)
	}
	want := []string{"ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "Qwen/Qwen3-8B-GGUF:Q8_0", "asleep", "broken"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	const qwen = "Qwen/Qwen3-8B-GGUF:Q8_0"
	wantResidents := []core.Resident{{
		Name: qwen, ContextLength: 16384, ExpiresAt: core.EndOfTime,
		Raw: json.RawMessage(`{"name":"` + qwen + `","model":"` + qwen + `","size":0,"digest":"",
			"details":{"family":"","parameter_size":"8.2B","quantization_level":""},"expires_at":` + never + `,"size_vram":0,"context_length":16384,
			"id":"` + qwen + `","aliases":["qwen"],"tags":["code"],"object":"model","owned_by":"llamacpp",
			"architecture":{"input_modalities":["text"],"output_modalities":["text"]},"source":"cache","can_remove":true}`),
	}}
	if diff := cmp.Diff(wantResidents, mustRunning(t, b), rawAsValue); diff != "" {
		t.Errorf("residents (-want +got):\n%s", diff)
	}
	if version := mustProbe(t, b); version != "b9000-4d3c2b1a0" {
		t.Errorf("version %q", version)
	}
	if n := s.timesAsked("/api/v0/models"); n != 0 {
		t.Errorf("asked LM Studio's question %d times", n)
	}

	// To load a model and unload another doesn't change what is installed.
	s.say("/v1/models", 200, `{"object":"list","data":[
		{"id":"ggml-org/gemma-3-4b-it-GGUF:Q4_K_M","aliases":[],"tags":[],"object":"model","owned_by":"llamacpp",
		 "status":{"value":"loaded"},"architecture":{"input_modalities":["text","image"],"output_modalities":["text"]},
		 "source":"cache","can_remove":true,"meta":{"size":1}}]}`)
	first := mustModels(t, b, "")
	s.say("/v1/models", 200, `{"object":"list","data":[
		{"id":"ggml-org/gemma-3-4b-it-GGUF:Q4_K_M","aliases":[],"tags":[],"object":"model","owned_by":"llamacpp",
		 "status":{"value":"unloaded"},"architecture":{"input_modalities":["text","image"],"output_modalities":["text"]},
		 "source":"cache","can_remove":true}]}`)
	if !mustModels(t, b, first.Fingerprint).Unchanged {
		t.Error("the list is another one because a model was unloaded")
	}
	if got := mustRunning(t, b); len(got) != 0 {
		t.Errorf("%s is still resident", got[0].Name)
	}
}

func TestVLLM(t *testing.T) {
	s := recorded(t, map[string]string{"/v1/models": "vllm-models.json", "/version": "vllm-version.json"})
	b := configured(t, core.Settings{URL: s.url})
	list := mustModels(t, b, "")
	if len(list.Models) != 2 || list.Models[0].Name != "Qwen/Qwen2.5-7B-Instruct" || list.Models[1].Name != "sql-lora" {
		t.Fatalf("models: %+v", list.Models)
	}
	wantRaw := json.RawMessage(`{"name":"sql-lora","model":"sql-lora","modified_at":"2026-09-21T14:13:20Z","size":0,"digest":"",
		"details":{"family":"","parameter_size":"","quantization_level":""},"created":1790000000,
		"id":"sql-lora","object":"model","owned_by":"vllm","root":"/loras/sql","parent":"Qwen/Qwen2.5-7B-Instruct","max_model_len":null}`)
	if diff := cmp.Diff(wantRaw, list.Models[1].Raw, rawAsValue); diff != "" {
		t.Errorf("raw (-want +got):\n%s", diff)
	}
	type resident struct {
		Name    string
		Context int64
	}
	var residents []resident
	for _, r := range mustRunning(t, b) {
		residents = append(residents, resident{r.Name, r.ContextLength})
	}
	if diff := cmp.Diff([]resident{{"Qwen/Qwen2.5-7B-Instruct", 32768}, {"sql-lora", 0}}, residents); diff != "" {
		t.Errorf("residents (-want +got):\n%s", diff)
	}
	if version := mustProbe(t, b); version != "0.11.2" {
		t.Errorf("version %q", version)
	}
}

func TestLMStudio(t *testing.T) {
	s := recorded(t, map[string]string{"/v1/models": "lmstudio-models.json", "/api/v0/models": "lmstudio-v0-models.json"})
	s.other = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(readFile(t, "lmstudio-unknown.json")) }
	b := configured(t, core.Settings{URL: s.url})
	list := mustModels(t, b, "")
	if len(list.Models) != 3 || !list.Models[0].ModifiedAt.IsZero() {
		t.Errorf("models: %+v", list.Models)
	}
	wantResidents := []core.Resident{{
		Name: "meta-llama-3.1-8b-instruct", ContextLength: 4096, ExpiresAt: core.EndOfTime,
		Raw: json.RawMessage(`{"name":"meta-llama-3.1-8b-instruct","model":"meta-llama-3.1-8b-instruct","size":0,"digest":"",
			"details":{"family":"","parameter_size":"","quantization_level":""},"expires_at":` + never + `,"size_vram":0,"context_length":4096,
			"id":"meta-llama-3.1-8b-instruct","object":"model","type":"llm","publisher":"lmstudio-community","arch":"llama",
			"compatibility_type":"gguf","quantization":"Q4_K_M","state":"loaded","max_context_length":131072,"loaded_context_length":4096}`),
	}}
	if diff := cmp.Diff(wantResidents, mustRunning(t, b), rawAsValue); diff != "" {
		t.Errorf("residents (-want +got):\n%s", diff)
	}
	if version := mustProbe(t, b); version != "" {
		t.Errorf("version %q", version)
	}
}

// A server that tells nothing of itself has its only model resident. Which of
// several are, nobody knows.
func TestServersThatTellNothing(t *testing.T) {
	for data, want := range map[string][]string{
		`[]`:                                []string{},
		`null`:                              []string{},
		`[{"id":"a"}]`:                      {"a"},
		`[{"id":"a","max_model_len":null}]`: {"a"},
		`[{"id":"a"},{"id":"b"}]`:           {},
	} {
		s := newServer(t)
		s.say("/v1/models", 200, `{"object":"list","data":`+data+`}`)
		names := []string{}
		for _, r := range mustRunning(t, configured(t, core.Settings{URL: s.url})) {
			names = append(names, r.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s: residents (-want +got):\n%s", data, diff)
		}
	}
}
