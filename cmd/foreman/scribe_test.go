//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
)

// A scribe stands before a target and writes down which models work and what
// is answered to each request that has a tag in its body.
type scribe struct {
	mu      sync.Mutex
	models  []string            // of the requests that were answered, in their order
	answers map[string][][]byte // those that were sent to their end, by tag
}

func newScribe() *scribe { return &scribe{answers: map[string][][]byte{}} }

func (s *scribe) wrap(target http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			hangUp(w, r, err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var asked struct{ Model, Tag string }
		if json.Unmarshal(body, &asked) != nil || asked.Tag == "" {
			target.ServeHTTP(w, r)
			return
		}
		entry := &entry{ResponseWriter: w, scribe: s, model: asked.Model}
		target.ServeHTTP(entry, r) // panics if the target breaks off
		if r.Context().Err() == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.answers[asked.Tag] = append(s.answers[asked.Tag], entry.sent.Bytes())
		}
	})
}

// whole are the answers to a tag that were sent to their end.
func (s *scribe) whole(tag string) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.answers[tag])
}

// turns are the models in the order in which they had their turns.
func (s *scribe) turns() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(slices.Clone(s.models))
}

// An entry is an answer that is being written down.
type entry struct {
	http.ResponseWriter
	scribe *scribe
	model  string
	sent   bytes.Buffer
	begun  bool
}

// Unwrap lets an http.ResponseController flush.
func (e *entry) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e *entry) Write(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		e.scribe.mu.Lock()
		e.scribe.models = append(e.scribe.models, e.model)
		e.scribe.mu.Unlock()
	}
	e.sent.Write(p)
	return e.ResponseWriter.Write(p)
}

// hangUp ends a connection in place of an answer.
func hangUp(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
