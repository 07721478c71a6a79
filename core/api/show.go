package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/seed-af7fee88/foreman/core"
)

// show passes POST /api/show to the target, and answers from memory while it
// is away, as long as the model's digest is the one that was shown.
func (s *Server) show(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opts.MaxBody))
	if err != nil {
		return err
	}
	snapshot := s.inventory.Snapshot()
	key, memorable := showKeyOf(body, snapshot)
	if snapshot.Status == core.Degraded {
		if remembered, ok := s.shown.get(key); ok && memorable {
			return writeAnswer(w, remembered)
		}
		if snapshot = s.inventory.Recheck(r.Context()); snapshot.Status == core.Degraded {
			return away(snapshot)
		}
	}
	got, err := s.target.post(r.Context(), "/api/show", bytes.NewReader(body))
	if err != nil {
		s.inventory.Nudge()
		if remembered, ok := s.shown.get(key); ok && memorable {
			return writeAnswer(w, remembered)
		}
		return err
	}
	if memorable && got.status == http.StatusOK {
		s.shown.put(key, got)
	}
	return writeAnswer(w, got)
}

func writeAnswer(w http.ResponseWriter, a answer) error {
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
	return nil
}

// showKey is what an answer to /api/show depends on. The name is part of it,
// since the modelfile in the answer states it.
type showKey struct {
	digest  string
	name    core.ModelName
	verbose bool
}

// showKeyOf is the key of a request, unless it asks for more than to see an
// installed model, or what it asks for has no digest.
func showKeyOf(body []byte, snapshot *core.Snapshot) (key showKey, memorable bool) {
	var req struct {
		Model   string `json:"model"`
		Name    string `json:"name"`
		Verbose bool   `json:"verbose"`
		// What these do to an answer is the target's business.
		System, Template, Options json.RawMessage
	}
	if json.Unmarshal(body, &req) != nil || len(req.System)+len(req.Template)+len(req.Options) > 0 {
		return showKey{}, false
	}
	if req.Model == "" {
		req.Model = req.Name // the stock CLI's way
	}
	name, err := core.ParseModelName(req.Model)
	if err != nil {
		return showKey{}, false
	}
	model, ok := snapshot.Inventory.Find(name)
	return showKey{model.Digest, name, req.Verbose}, ok && model.Digest != ""
}

const (
	maxShown      = 512
	maxShownBytes = 32 << 20
)

// showMemory holds answers to /api/show, the oldest of which go when it is
// full.
type showMemory struct {
	mu      sync.Mutex
	answers map[showKey]answer
	order   []showKey // oldest first
	bytes   int
}

func newShowMemory() *showMemory { return &showMemory{answers: make(map[showKey]answer)} }

func (m *showMemory) get(key showKey) (answer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[key]
	return a, ok
}

func (m *showMemory) put(key showKey, a answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.answers[key]; ok {
		m.bytes -= len(old.body)
	} else {
		m.order = append(m.order, key)
	}
	m.answers[key] = a
	m.bytes += len(a.body)
	for len(m.order) > maxShown || m.bytes > maxShownBytes {
		m.bytes -= len(m.answers[m.order[0]].body)
		delete(m.answers, m.order[0])
		m.order = m.order[1:]
	}
}
