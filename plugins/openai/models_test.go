package openai

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// listBackend looks at a server that lists what say is given.
func listBackend(t *testing.T) (b *Backend, say func(entries ...string)) {
	t.Helper()
	s := newServer(t)
	b = configured(t, core.Settings{URL: s.url})
	return b, func(entries ...string) {
		s.say("/v1/models", 200, `{"object":"list","data":[`+strings.Join(entries, ",")+`]}`)
	}
}

// Each row is the same list as entries, or another one.
func TestFingerprint(t *testing.T) {
	entries := []string{
		`{"id":"a","created":5,"x":[1],"permission":[{"id":"p1"}]}`,
		`{"id":"b","owned_by":"me"}`,
	}
	for name, row := range map[string]struct {
		entries []string
		same    bool
	}{
		"itself":            {entries, true},
		"other order":       {[]string{entries[1], entries[0]}, true},
		"white space":       {[]string{"{ \"id\" :\t\"a\", \"x\":[1]}", entries[1]}, true},
		"another moment":    {[]string{strings.Replace(entries[0], "5", "6", 1), entries[1]}, true},
		"other permission":  {[]string{strings.Replace(entries[0], "p1", "p2", 1), entries[1]}, true},
		"one less":          {entries[:1], false},
		"none":              {nil, false},
		"one twice":         {[]string{entries[0], entries[1], entries[1]}, false},
		"a twin instead":    {[]string{entries[0], entries[0]}, false},
		"another id":        {[]string{entries[0], `{"id":"c","owned_by":"me"}`}, false},
		"unknown field":     {[]string{strings.Replace(entries[0], "[1]", "[2]", 1), entries[1]}, false},
		"one field more":    {[]string{entries[0], `{"id":"b","owned_by":"me","y":null}`}, false},
		"meta is no status": {[]string{entries[0], `{"id":"b","owned_by":"me","meta":{}}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, say := listBackend(t)
			say(entries...)
			first := mustModels(t, b, "")
			say(row.entries...)
			again := mustModels(t, b, first.Fingerprint)
			if again.Unchanged != row.same || (again.Fingerprint == first.Fingerprint) != row.same {
				t.Errorf("same: %v, want %v", again.Unchanged, row.same)
			}
			if want := len(row.entries); !row.same && len(again.Models) != want {
				t.Errorf("%d models, want %d", len(again.Models), want)
			}
			if other := mustModels(t, b, "not a fingerprint of ours"); other.Unchanged || len(other.Models) != len(row.entries) {
				t.Errorf("for an unknown fingerprint: unchanged %v, %d models", other.Unchanged, len(other.Models))
			}
		})
	}
}

// llama.cpp and vLLM state the moment of their answer.
func TestModelKeepsTheTimeItWasFirstSeenWith(t *testing.T) {
	b, say := listBackend(t)
	looks := []struct {
		entries []string
		want    map[string]int64
	}{
		{[]string{`{"id":"a","created":1000}`}, map[string]int64{"a": 1000}},
		{[]string{`{"id":"a","created":1030}`, `{"id":"b","created":1030}`}, map[string]int64{"a": 1000, "b": 1030}},
		{[]string{`{"id":"b","created":1060,"meta":{"size":7}}`, `{"id":"a","created":1060}`}, map[string]int64{"a": 1000, "b": 1060}},
		{[]string{`{"id":"b","created":1090,"meta":{"size":7}}`}, map[string]int64{"b": 1060}},
		{[]string{`{"id":"a","created":1120}`}, map[string]int64{"a": 1120}},
	}
	for i, look := range looks {
		say(look.entries...)
		got := map[string]int64{}
		for _, m := range mustModels(t, b, "").Models {
			got[m.Name] = m.ModifiedAt.Unix()
			var raw struct {
				ModifiedAt time.Time `json:"modified_at"`
				Created    int64
			}
			if err := json.Unmarshal(m.Raw, &raw); err != nil || !raw.ModifiedAt.Equal(m.ModifiedAt) || raw.Created != got[m.Name] {
				t.Errorf("look %d: raw of %s: %v %s", i, m.Name, err, m.Raw)
			}
		}
		if diff := cmp.Diff(look.want, got); diff != "" {
			t.Errorf("look %d (-want +got):\n%s", i, diff)
		}
	}
}

// What is stated in another way than expected counts as not stated, but for
// the id.
func TestOddEntries(t *testing.T) {
	const plain = `"size":0,"digest":"","details":{"family":"","parameter_size":"","quantization_level":""}`
	const noTime = `"modified_at":"0001-01-01T00:00:00Z",`
	for sent, want := range map[string]core.Model{
		`{"id":"a"}`: {Name: "a", Raw: json.RawMessage(`{"name":"a","model":"a",` + noTime + plain + `,"id":"a"}`)},
		`{"id":"a","created":"2024-01-01","owned_by":7,"meta":"x","status":"ok","max_model_len":"long"}`: {Name: "a",
			Raw: json.RawMessage(`{"name":"a","model":"a",` + noTime + plain +
				`,"id":"a","owned_by":7,"meta":"x","status":"ok","max_model_len":"long"}`)},
		`{"id":"a","created":60.5,"meta":{"size":-1,"n_params":"7B"}}`: {Name: "a", ModifiedAt: time.Unix(60, 0).UTC(),
			Raw: json.RawMessage(`{"name":"a","model":"a","modified_at":"1970-01-01T00:01:00Z",` + plain +
				`,"created":60,"id":"a","meta":{"size":-1,"n_params":"7B"}}`)},
		`{"id":"a","created":1790000000000}`: {Name: "a", // milliseconds
			Raw: json.RawMessage(`{"name":"a","model":"a",` + noTime + plain + `,"id":"a"}`)},
		`{"id":"a","created":-5,"name":"A, the model","MODEL":"x","Size":1,"details":null,"π":1e400}`: {Name: "a",
			Raw: json.RawMessage(`{"name":"a","model":"a",` + noTime + plain + `,"id":"a","π":1e400}`)},
		`{"id":"/models/my <best> model.gguf","n\u0061me":"x"}`: {Name: "/models/my <best> model.gguf",
			Raw: json.RawMessage(`{"name":"/models/my \u003cbest\u003e model.gguf","model":"/models/my \u003cbest\u003e model.gguf",` +
				noTime + plain + `,"id":"/models/my <best> model.gguf"}`)},
		`{"id":"b","id":"a\"\u001b"}`: {Name: "a\"\x1b",
			Raw: json.RawMessage(`{"name":"a\"\u001b","model":"a\"\u001b",` + noTime + plain + `,"id":"b","id":"a\"\u001b"}`)},
		"{\"id\":\"a\xff\"}": {Name: "a\ufffd",
			Raw: json.RawMessage(`{"name":"a` + "\ufffd" + `","model":"a` + "\ufffd" + `",` + noTime + plain + `,"id":"a` + "\ufffd" + `"}`)},
		`{"id":"a","meta":{"n_params":494000000}}`: {Name: "a", ParameterSize: "494M",
			Raw: json.RawMessage(`{"name":"a","model":"a",` + noTime + strings.Replace(plain, `size":""`, `size":"494M"`, 1) +
				`,"id":"a","meta":{"n_params":494000000}}`)},
	} {
		b, say := listBackend(t)
		say(sent)
		list := mustModels(t, b, "")
		if diff := cmp.Diff([]core.Model{want}, list.Models); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sent, diff)
		}
		if !json.Valid(list.Models[0].Raw) {
			t.Errorf("%s: raw is no JSON", sent)
		}
	}
}

// Every row is how a server answers /v1/models, and what is said of it.
func TestFaults(t *testing.T) {
	body := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	status := func(code int, s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(s))
		}
	}
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		want   core.Reason
		detail string // after "GET URL/v1/models: "
	}{
		"404":           {status(404, "{}"), core.ReasonWrongTarget, "status 404: not OpenAI's API"},
		"web page":      {body("<!doctype html><title>chat</title>"), core.ReasonWrongTarget, "a web page, not OpenAI's API"},
		"wrong key":     {status(401, `{"error":{"message":"Invalid API Key [bearer s3cret]"}}`), "status_401", "status 401: Invalid API Key [bearer [token]]"},
		"plain error":   {status(401, `{"error":"Unauthorized"}`), "status_401", "status 401: Unauthorized"},
		"other error":   {status(500, `{"error":{"code":500}}`), "status_500", "status 500: Internal Server Error"},
		"redirect":      {http.RedirectHandler("https://s3cret@h/login", http.StatusFound).ServeHTTP, core.ReasonRedirect, "status 302: redirects to h, which is not followed"},
		"empty":         {body(""), core.ReasonNotJSON, "the answer is empty"},
		"cut":           {body(`{"data":[`), core.ReasonTruncated, "the answer's JSON ends early, after 9 bytes"},
		"no data":       {body(`{"object":"list"}`), core.ReasonNoModels, "no array of data in the answer"},
		"null, no list": {body(`{"data":null}`), core.ReasonNoModels, "no array of data in the answer"},
		"data twice":    {body(`{"object":"list","data":[{"id":"a"}],"data":null}`), core.ReasonNoModels, "data stands twice in the answer"},
		"error as 200":  {body(`{"error":"Unexpected endpoint or method."}`), core.ReasonNoModels, "no data in the answer, but an error: Unexpected endpoint or method."},
		"an array":      {body(`[{"id":"a"}]`), core.ReasonNoModels, "the answer is not a JSON object"},
		"Ollama's list": {body(`{"models":[{"name":"a"}]}`), core.ReasonNoModels, "no array of data in the answer"},
		"a string":      {body(`{"data":["a"]}`), core.ReasonBadModel, "data[0] is not an object"},
		"no id":         {body(`{"data":[{"id":"a"},{"name":"b"}]}`), core.ReasonBadModel, `data[1] has no usable "id"`},
		"empty id":      {body(`{"data":[{"id":""}]}`), core.ReasonBadModel, `data[0] has no usable "id"`},
		"id a number":   {body(`{"data":[{"id":1}]}`), core.ReasonBadModel, `data[0] has no usable "id"`},
		"ID":            {body(`{"data":[{"ID":"a"}]}`), core.ReasonBadModel, `data[0] has no usable "id"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.answer("/v1/models", row.answer)
			b := configured(t, core.Settings{URL: s.url, Token: "s3cret"})
			_, models := b.Models(t.Context(), "")
			_, running := b.Running(t.Context())
			_, probe := b.Probe(t.Context())
			for what, err := range map[string]error{"Models": models, "Running": running, "Probe": probe} {
				var fault *core.Fault
				if !errors.As(err, &fault) {
					t.Fatalf("%s: %v is not a fault", what, err)
				}
				want := core.Fault{Reason: row.want, Detail: "GET " + s.url + "/v1/models: " + row.detail}
				if *fault != want {
					t.Errorf("%s: %+v\nwant %+v", what, *fault, want)
				}
			}
		})
	}
}

func TestConfigure(t *testing.T) {
	for _, tt := range []struct {
		settings core.Settings
		want     core.Upstream
	}{
		{core.Settings{URL: "http://127.0.0.1:8080"}, core.Upstream{URL: "http://127.0.0.1:8080", Header: http.Header{}}},
		{core.Settings{URL: "http://h:1/v1", Extra: []byte(`{}`)}, core.Upstream{URL: "http://h:1", Header: http.Header{}}},
		{core.Settings{URL: "https://h/behind//v1//"}, core.Upstream{URL: "https://h/behind", Header: http.Header{}}},
		{core.Settings{URL: "http://h/nov1"}, core.Upstream{URL: "http://h/nov1", Header: http.Header{}}},
		{core.Settings{URL: "http://v1"}, core.Upstream{URL: "http://v1", Header: http.Header{}}},
		{core.Settings{URL: "http://v1/v1/v1"}, core.Upstream{URL: "http://v1/v1", Header: http.Header{}}},
		{core.Settings{URL: "http://h", Token: "s3cret"},
			core.Upstream{URL: "http://h", Header: http.Header{"Authorization": {"Bearer s3cret"}}}},
	} {
		tt.want.V1Only = true
		got, err := New().Configure(t.Context(), tt.settings)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%+v: %v (-want +got):\n%s", tt.settings, err, diff)
		}
	}
	for _, tt := range []struct {
		settings core.Settings
		says     string
	}{
		{core.Settings{Token: "s3cret"}, `url: missing; say where the server is, as in url = "http://127.0.0.1:8080"`},
		{core.Settings{URL: "h:8080"}, "url: want http://"},
		{core.Settings{URL: "http://h/v1?key=s3cret"}, "url: must not hold a query"},
		{core.Settings{URL: "http://h", Token: "s3cret\n"}, "token: want printable ASCII"},
		{core.Settings{URL: "http://h", Extra: []byte(`{"model":"x"}`)}, `unknown setting "model"`},
	} {
		_, err := New().Configure(t.Context(), tt.settings)
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v, want %q", tt.settings, err, tt.says)
		}
	}
}

func TestRequestsCarryPrefixAndToken(t *testing.T) {
	var mu sync.Mutex
	paths := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths[r.URL.Path] = r.Header.Get("Authorization") == "Bearer s3cret"
		if strings.HasSuffix(r.URL.Path, "/v1/models") {
			_, _ = w.Write([]byte(`{"object":"list","data":[{"id":"a"}]}`))
		} else {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	ask(t, configured(t, core.Settings{URL: srv.URL + "/behind/v1", Token: "s3cret"}))
	want := map[string]bool{"/behind/v1/models": true, "/behind/props": true, "/behind/version": true, "/behind/api/v0/models": true}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths and whether the token went with them (-want +got):\n%s", diff)
	}
}
