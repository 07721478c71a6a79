package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded is what the server of the recordings had installed, as far as the
// replayed requests need it.
func recorded() []sim.Model {
	at := time.Date(2026, time.November, 23, 8, 19, 4, 961073734, time.UTC)
	return []sim.Model{
		{
			Name: "tiny", Size: 206080, ParameterSize: "98K", Quantization: "F16", ModifiedAt: at,
			Digest: "db77677cb4f41662bd146e3b1f6df080662c5679954baa48869341f1bb7f364d",
		},
		{Name: "tiny-embed", Size: 117630, Family: "bert", Embedding: true, ModifiedAt: at.Add(-time.Hour)},
	}
}

func start(t *testing.T, opts sim.Options) *sim.Server {
	t.Helper()
	s, err := sim.Start("127.0.0.1:0", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// client makes a connection of its own for each request and follows no
// redirect.
var client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

func request(ctx context.Context, method, url, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// do is one request over the wire and its whole answer.
func do(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	resp, err := request(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

// call is one request to a server that doesn't listen.
func call(s *sim.Server, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func decodeJSON[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

// A recording is a request and what a real Ollama 0.17.4 answered.
type recording struct {
	method, path, request string
	status                int
	header                http.Header
	body                  string
}

func readRecording(t *testing.T, name string) recording {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "ollama", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	asked, rest, _ := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n\n")
	head, body, _ := strings.Cut(rest, "\n\n")
	rec := recording{header: http.Header{}, body: strings.TrimRight(body, "\n")}
	line, content, _ := strings.Cut(asked, "\n")
	if _, err := fmt.Sscanf(line, "> %s %s", &rec.method, &rec.path); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	rec.request = strings.TrimPrefix(content, "> ")
	lines := strings.Split(head, "\n")
	if _, err := fmt.Sscanf(lines[0], "HTTP/1.1 %d", &rec.status); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		rec.header.Set(key, value)
	}
	rec.header.Del("Date")
	return rec
}

// headerOf is a response's header as a recording has it.
func headerOf(resp *http.Response) http.Header {
	h := resp.Header.Clone()
	h.Del("Date")
	h.Del("Connection")
	if resp.TransferEncoding != nil {
		h["Transfer-Encoding"] = resp.TransferEncoding
	}
	return h
}

func TestAnswersExactlyAsRecorded(t *testing.T) {
	for _, name := range []string{
		"root-get", "root-head", "version-get", "version-head", "tags-one",
		"method-not-allowed", "options-cors", "notfound-path",
		"show-missing", "show-empty", "show-invalid", "show-badjson", "show-nobody",
		"generate-missing", "generate-missing-tagged", "generate-missing-nostream", "generate-emptymodel",
		"generate-invalidname", "generate-badjson", "generate-nobody", "generate-on-embed-model",
		"chat-missing", "chat-missing-tagged", "chat-missing-nostream", "chat-emptymodel",
		"chat-invalidname", "chat-badjson", "chat-nobody", "chat-on-embed-model",
		"embed-missing", "embed-emptymodel", "embeddings-missing",
		"v1model-one", "v1model-one-tag", "v1model-missing", "v1model-namespace-escaped", "v1model-namespace-raw-slash",
		"v1chat-missing", "v1chat-missing-stream", "v1chat-emptymodel", "v1chat-nomessages", "v1chat-badjson",
		"v1completions-missing", "v1embeddings-missing",
	} {
		t.Run(name, func(t *testing.T) {
			rec := readRecording(t, name)
			models := recorded()
			if name == "tags-one" {
				models = models[:1]
			}
			s := start(t, sim.Options{Models: models, Instant: true})
			resp, body := do(t, rec.method, s.URL()+rec.path, rec.request)
			if resp.StatusCode != rec.status || strings.TrimRight(body, "\n") != rec.body {
				t.Errorf("got %d %s\nwant %d %s", resp.StatusCode, body, rec.status, rec.body)
			}
			if diff := cmp.Diff(rec.header, headerOf(resp)); diff != "" {
				t.Errorf("header (-recorded +got):\n%s", diff)
			}
		})
	}
}

func TestAnswersExactlyAsRecordedWhenEmpty(t *testing.T) {
	s := start(t, sim.Options{Models: []sim.Model{}})
	for _, name := range []string{"tags-empty", "tags-head", "ps-empty", "v1models-empty"} {
		rec := readRecording(t, name)
		resp, body := do(t, rec.method, s.URL()+rec.path, rec.request)
		if strings.TrimRight(body, "\n") != rec.body {
			t.Errorf("%s: got %s, want %s", name, body, rec.body)
		}
		if diff := cmp.Diff(rec.header, headerOf(resp)); diff != "" {
			t.Errorf("%s: header (-recorded +got):\n%s", name, diff)
		}
	}
}

// shape is v with its values replaced by their types; an array is the shape
// of its first element.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = shape(value)
		}
		if _, ok := out["model_info"]; ok { // what is in it depends on the model
			out["model_info"] = map[string]any{}
		}
		if _, ok := out["tensors"]; ok { // the simulated have none
			out["tensors"] = []any{}
		}
		return out
	case []any:
		if len(v) == 0 {
			return []any{}
		}
		return []any{shape(v[0])}
	default:
		return fmt.Sprintf("%T", v)
	}
}

// shapes are those of a body's lines: JSON, or server-sent events.
func shapes(t *testing.T, body string) []any {
	t.Helper()
	var all []any
	for line := range strings.Lines(body) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
		if line == "" || line == "[DONE]" {
			all = append(all, line)
			continue
		}
		all = append(all, shape(decodeJSON[any](t, line)))
	}
	return all
}

func TestAnswersInTheShapeRecorded(t *testing.T) {
	for _, name := range []string{
		"tags-many", "ps-many", "v1models-many", "show", "show-name-field",
		"generate-stream", "generate-nostream", "generate-load-only", "generate-keepalive0-unload",
		"chat-stream", "chat-nostream", "chat-load-only",
		"embed-bert", "embed-bert-batch", "embed-llama", "embeddings-bert",
		"v1chat", "v1chat-stream", "v1embeddings",
	} {
		t.Run(name, func(t *testing.T) {
			rec := readRecording(t, name)
			s := start(t, sim.Options{Models: recorded(), Instant: true})
			s.Load("tiny")
			resp, body := do(t, rec.method, s.URL()+rec.path, rec.request)
			if resp.StatusCode != rec.status {
				t.Errorf("status %d, recorded %d", resp.StatusCode, rec.status)
			}
			if got, want := resp.Header.Get("Content-Type"), rec.header.Get("Content-Type"); got != want {
				t.Errorf("Content-Type %q, recorded %q", got, want)
			}
			if diff := cmp.Diff(shapes(t, rec.body), shapes(t, strings.TrimRight(body, "\n"))); diff != "" {
				t.Errorf("shape (-recorded +got):\n%s", diff)
			}
		})
	}
}

func TestForeignCallersAreRefused(t *testing.T) {
	s := start(t, sim.Options{Instant: true})
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{"foreman.example", "", 403},
		{"8.8.8.8", "", 403},
		{"foreman.local", "", 200},
		{"foreman.internal", "", 200},
		{"10.1.2.3", "", 200},
		{"[::1]:9", "", 200},
		{"localhost:9999", "", 200},
		{"localhost", "http://evil.example", 403},
		{"localhost", "http://localhost:3000", 200},
		{"localhost", "http://127.0.0.1", 200},
		{"localhost", "app://x", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/api/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("host %q, origin %q: status %d, want %d", c.host, c.origin, resp.StatusCode, c.want)
		}
	}
}

func TestStartListensOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:80", "[::]:0", "example.com:80", ":0", "127.0.0.1"} {
		s, err := sim.Start(addr, sim.Options{})
		if err == nil {
			s.Close()
			t.Errorf("Start(%q) worked", addr)
		} else if !strings.Contains(err.Error(), "loopback") {
			t.Errorf("Start(%q): %v, which doesn't say why", addr, err)
		}
	}
}

func TestCloseFreesThePortAndCutsEverybody(t *testing.T) {
	s := start(t, sim.Options{Models: []sim.Model{{Name: "chatty", TokensPerSecond: 10}}})
	hanging := make(chan struct{})
	s.FailNext("/api/tags", 1, func(w http.ResponseWriter, r *http.Request) {
		close(hanging)
		sim.Hang()(w, r)
	})
	stream, err := request(t.Context(), "POST", s.URL()+"/api/generate", `{"model":"chatty","prompt":"hi"}`)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	hung := make(chan error, 1)
	go func() {
		resp, err := request(context.Background(), "GET", s.URL()+"/api/tags", "")
		if err == nil {
			resp.Body.Close()
		}
		hung <- err
	}()
	<-hanging

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-hung; err == nil {
		t.Error("the hanging request was answered")
	}
	if _, err := io.ReadAll(stream.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %v, want a cut", err)
	}
	again, err := sim.Start(s.Addr(), sim.Options{})
	if err != nil {
		t.Fatalf("the port isn't free: %v", err)
	}
	again.Close()
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
