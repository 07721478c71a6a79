package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	showTimeout = 10 * time.Second
	// showPatience is for an answer that there is a substitute for, or little
	// hope of.
	showPatience = 2 * time.Second
)

// show passes POST /api/show to the target, and answers from memory while it
// is away, as long as the model's digest is the one that was shown. What isn't
// remembered waits for the target, as a request for an answer of the model does.
func (s *service) show(w http.ResponseWriter, r *http.Request) error {
	arrived := time.Now()
	payload, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	defer payload.drop()
	body := payload.data
	name, err := modelOf(body, "model", "name") // the stock CLI's way is name
	if err != nil {
		return err
	}
	if err := s.admit(r.Context(), name); err != nil {
		return err
	}
	snapshot := s.inventory.Snapshot()
	key := showKeyOf(body, snapshot)
	remembered := s.shown.get(key)
	if snapshot.Status == core.Degraded && remembered != nil {
		return remembered.send(w)
	}
	var got *answer
	ask := func() (err error) {
		wait := showTimeout
		if remembered != nil || s.inventory.Snapshot().Status == core.Degraded {
			wait = showPatience
		}
		got, err = s.target.post(r.Context(), wait, "/api/show", bytes.NewReader(body))
		if fault, ok := errors.AsType[*core.Fault](err); ok && fault.Reason == core.ReasonTimeout && s.inventory.Snapshot().Status == core.Healthy {
			return fmt.Errorf("%w: %w", errSlow, err) // it is there, and works on it
		}
		return err
	}
	if remembered != nil {
		err = ask()
	} else {
		err = s.patiently(r.Context(), arrived, ask)
	}
	if err != nil || got.status >= http.StatusInternalServerError { // a gateway's word for a target that is away
		s.inventory.Nudge()
		if remembered != nil {
			return remembered.send(w)
		}
	}
	if err != nil {
		return err
	}
	if got.status == http.StatusOK {
		s.shown.put(key, got)
	}
	return got.send(w)
}

// showKey is what an answer to /api/show depends on. The name is part of it,
// since the modelfile in the answer states it.
type showKey struct {
	digest  string
	name    core.ModelName
	verbose bool
}

// showKeyOf is the key of a request, or zero if it asks for more than to see
// an installed model, or that model has no digest.
func showKeyOf(body []byte, snapshot *core.Snapshot) showKey {
	// The stock CLI sends all of these, and the model's name in Name.
	var req struct {
		Model, Name, System, Template string
		Verbose                       bool
		Options                       map[string]any
	}
	decoder := json.NewDecoder(bytes.NewReader(body)) // reads the first value only, as the target does
	decoder.DisallowUnknownFields()
	if decoder.Decode(&req) != nil || req.System != "" || req.Template != "" || len(req.Options) > 0 {
		return showKey{}
	}
	if req.Model == "" {
		req.Model = req.Name
	}
	name, err := core.ParseModelName(req.Model)
	if err != nil {
		return showKey{}
	}
	model, ok := snapshot.Inventory.Find(name)
	if !ok || model.Digest == "" {
		return showKey{}
	}
	return showKey{model.Digest, name, req.Verbose}
}

const (
	maxShown      = 512
	maxShownBytes = 32 << 20
)

// showMemory holds answers to /api/show, the oldest of which go when it is
// full. Nothing is held under the zero key.
type showMemory struct {
	mu      sync.Mutex
	answers map[showKey]*answer
	order   []showKey // oldest first
	bytes   int
}

func newShowMemory() *showMemory { return &showMemory{answers: make(map[showKey]*answer)} }

// get returns nil for what isn't remembered.
func (m *showMemory) get(key showKey) *answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.answers[key]
}

func (m *showMemory) put(key showKey, a *answer) {
	if key == (showKey{}) || len(a.body) > maxShownBytes {
		return
	}
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
