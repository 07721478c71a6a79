package api

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// stays is how long a model is to stay in memory after a request, while more
// of them wait.
const stays = 10 * time.Minute

// mostPinned is how large a request may be to become a little larger: the
// target bounds it too, mostly at 64 MiB.
const mostPinned = 32 << 20

// pin is body, a request for a model that more work waits for, as it is sent:
// the model is to stay for a while, unless it stays longer by itself. Ollama
// goes on with the last time that it was told.
func (s *service) pin(path, name string, body []byte) []byte {
	model, _ := s.place(name)
	if staysFor(stays, s.inventory.Snapshot().Residency, core.NameOf(model)) {
		return body
	}
	return pinned(path, body)
}

func staysFor(d time.Duration, residency *core.Residency, model core.ModelName) bool {
	return residency != nil && slices.ContainsFunc(residency.Models, func(r core.Resident) bool {
		return core.NameOf(r.Name) == model && time.Until(r.ExpiresAt) >= d
	})
}

// pinned is a request to path that has the target keep its model in memory
// for a while after it. That is all that foreman ever changes in a request's
// JSON; one that says itself how long is left as it is, and so is one to a path
// that knows no such thing.
func pinned(path string, body []byte) []byte {
	if !strings.HasPrefix(path, "/api/") || len(body) > mostPinned || !json.Valid(body) {
		return body
	}
	if bytes.TrimLeft(body, jsonSpace)[0] != '{' {
		return body
	}
	empty := true
	for key := range members(body) {
		if means(key, "keep_alive") {
			return body
		}
		empty = false
	}
	field := `"keep_alive":"` + stays.String() + `"`
	if !empty {
		field += ","
	}
	brace := bytes.IndexByte(body, '{') + 1
	out := make([]byte, 0, len(body)+len(field))
	return append(append(append(out, body[:brace]...), field...), body[brace:]...)
}
