package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server answers as one of the real ones does. Its answers state what is
// the moment's in those: the time as created, and a new id of a permission.
type server struct {
	url string

	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by path
	other   http.HandlerFunc            // for paths that it doesn't know
	asked   map[string]int
	clock   int // Unix seconds
}

const firstAnswer = 1790000000 // as testdata has it

func newServer(tb testing.TB) *server {
	tb.Helper()
	s := &server{
		answers: map[string]http.HandlerFunc{}, other: http.NotFound,
		asked: map[string]int{}, clock: firstAnswer,
	}
	srv := httptest.NewServer(s)
	tb.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// recorded makes a server of files in testdata.
func recorded(tb testing.TB, files map[string]string) *server {
	tb.Helper()
	s := newServer(tb)
	for path, name := range files {
		s.say(path, http.StatusOK, string(readFile(tb, name)))
	}
	return s
}

func (s *server) say(path string, status int, body string) {
	s.answer(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		body := bytes.ReplaceAll([]byte(body), fmt.Append(nil, firstAnswer), fmt.Append(nil, s.clock))
		_, _ = w.Write(bytes.ReplaceAll(body, []byte("modelperm-"), fmt.Appendf(nil, "modelperm-%d", s.clock)))
	})
}

func (s *server) answer(path string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = answer
}

// timesAsked is how often path was asked for since the last call.
func (s *server) timesAsked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked[path]
	s.asked[path] = 0
	return n
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[r.URL.Path]++
	answer, ok := s.answers[r.URL.Path]
	if !ok {
		answer = s.other
	}
	answer(w, r)
	s.clock++
}

func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

func configured(tb testing.TB, s core.Settings) *Backend {
	tb.Helper()
	b := New()
	if _, err := b.Configure(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
	return b
}

func mustModels(tb testing.TB, b *Backend, known string) core.ModelList {
	tb.Helper()
	list, err := b.Models(context.Background(), known)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func mustRunning(tb testing.TB, b *Backend) []core.Resident {
	tb.Helper()
	residents, err := b.Running(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return residents
}

func mustProbe(tb testing.TB, b *Backend) (version string) {
	tb.Helper()
	version, err := b.Probe(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return version
}

// rawAsValue compares JSON by what it says.
var rawAsValue = cmp.Transformer("JSON", func(raw json.RawMessage) (v any) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return err.Error()
	}
	return v
})
