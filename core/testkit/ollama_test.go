//go:build unix

package testkit

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/testdata/mkgguf"
)

func startOllama(t *testing.T) *Ollama {
	bin := os.Getenv("OLLAMA_BIN")
	if bin == "" {
		t.Skip("OLLAMA_BIN is not set; `make e2e` sets it")
	}
	return StartOllama(t, bin)
}

// post returns the whole answer, or what kept it from coming.
func (o *Ollama) post(timeout time.Duration, path, body string) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(o.t.Context(), timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer map[string]any
	return answer, json.NewDecoder(res.Body).Decode(&answer)
}

// listed is the first column of `ollama list`, sorted.
func (o *Ollama) listed() []string {
	o.t.Helper()
	out, words, err := o.Run(o.URL, "list")
	if err != nil {
		o.t.Fatalf("ollama list: %v\n%s", err, words)
	}
	var names []string
	for line := range strings.Lines(out) {
		if name, _, _ := strings.Cut(line, " "); name != "NAME" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestE2EModelsWork(t *testing.T) {
	o := startOllama(t)
	want := slices.Sorted(slices.Values(Names))
	if diff := cmp.Diff(want, o.listed()); diff != "" {
		t.Fatalf("ollama list (-want +got):\n%s", diff)
	}
	for _, model := range []string{"tiny", "tiny2", "me/tiny:v1", "tiny-tools"} {
		said, err := o.post(time.Minute, "/api/generate", `{"model":"`+model+`","prompt":"why","stream":false}`)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := said["response"].(string); strings.TrimSpace(text) != mkgguf.Sentence {
			t.Errorf("%s answers %v", model, said)
		}
	}
	said, err := o.post(time.Minute, "/api/generate",
		`{"model":"tiny-loop","prompt":"why","stream":false,"options":{"num_predict":60}}`)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := said["response"].(string); strings.Count(text, "rayleigh") < 2 {
		t.Errorf("tiny-loop stops: %v", said)
	}
	embedded, err := o.post(time.Minute, "/api/embed", `{"model":"tiny-embed","input":"why"}`)
	if err != nil {
		t.Fatal(err)
	}
	if vectors, _ := embedded["embeddings"].([]any); len(vectors) != 1 {
		t.Errorf("tiny-embed answers %v", embedded)
	}
}

func TestE2ECreateAndDelete(t *testing.T) {
	o := startOllama(t)
	o.Create("fresh:v2")
	if !slices.Contains(o.listed(), "fresh:v2") {
		t.Errorf("fresh:v2 isn't listed: %v", o.listed())
	}
	o.Delete("fresh:v2")
	if slices.Contains(o.listed(), "fresh:v2") {
		t.Error("fresh:v2 is still listed")
	}
}

func TestE2EFaults(t *testing.T) {
	o := startOllama(t)
	const show = `{"model":"tiny"}`

	o.Pause()
	if _, err := o.post(200*time.Millisecond, "/api/show", show); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused server: %v, want a timeout", err)
	}
	o.Resume()
	if _, err := o.post(time.Minute, "/api/show", show); err != nil {
		t.Errorf("a resumed server: %v", err)
	}

	first := o.Pid()
	o.Kill()
	if _, err := o.post(time.Minute, "/api/show", show); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a killed server: %v, want a refused connection", err)
	}

	o.Restart()
	if o.Pid() == first {
		t.Error("the same process after Restart")
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(Names)), o.listed()); diff != "" {
		t.Errorf("ollama list after Restart (-want +got):\n%s", diff)
	}
	o.Stop()
	if o.Pid() != 0 {
		t.Errorf("Pid() = %d after Stop", o.Pid())
	}
}
