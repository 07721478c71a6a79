package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	jsonType   = "application/json; charset=utf-8" // as Ollama's own routes write it
	openAIType = "application/json"                // as its /v1 routes do
	textType   = "text/plain; charset=utf-8"
)

// Headers of a list's answer.
const (
	HeaderAge      = "Foreman-Inventory-Age" // seconds since the target confirmed the list
	HeaderDegraded = "Foreman-Degraded"      // "true" or "false"
)

func (s *service) root(w http.ResponseWriter, _ *http.Request) error {
	const running = "Ollama is running" // stock clients look at the status, people at this
	return send(w, http.StatusOK, textType, []byte(running))
}

func (s *service) version(w http.ResponseWriter, r *http.Request) error {
	snapshot := s.inventory.Snapshot()
	if snapshot.Version == "" {
		snapshot = s.inventory.Recheck(r.Context())
	}
	if snapshot.Version == "" && snapshot.Status != core.Healthy { // some backends never state one
		return away(snapshot)
	}
	return writeJSON(w, jsonType, map[string]string{"version": snapshot.Version})
}

func (s *service) tags(w http.ResponseWriter, r *http.Request) error {
	snapshot, err := s.listed(r)
	if err != nil {
		return err
	}
	return writeList(w, r, jsonType, snapshot.Inventory.Tags, snapshot.InventoryAt, snapshot)
}

// noResidents answers while nobody has told yet what is resident, without an
// age: clients of Ollama know no other answer.
var noResidents = core.NewResidency(nil).PS

func (s *service) ps(w http.ResponseWriter, r *http.Request) error {
	snapshot, err := s.listed(r)
	if err != nil {
		return err
	}
	if changed := s.changed.Load(); changed != nil && snapshot.LastPoll.At.Before(*changed) {
		snapshot = s.inventory.Recheck(r.Context())
	}
	if snapshot.Residency == nil {
		return writeList(w, r, jsonType, noResidents, time.Time{}, snapshot)
	}
	return writeList(w, r, jsonType, snapshot.Residency.PS, snapshot.ResidencyAt, snapshot)
}

// listed is a snapshot that has an inventory. A caller who sends
// Cache-Control: no-cache gets one that is not older than the request, if the
// target answers in time; so does the first caller of all.
func (s *service) listed(r *http.Request) (*core.Snapshot, error) {
	snapshot := s.inventory.Snapshot()
	if snapshot.Inventory == nil || wantsFresh(r) {
		snapshot = s.inventory.Recheck(r.Context())
	}
	if snapshot.Inventory == nil {
		return nil, away(snapshot)
	}
	return snapshot, nil
}

func wantsFresh(r *http.Request) bool {
	values, ok := r.Header["Cache-Control"]
	return ok && strings.Contains(strings.ToLower(strings.Join(values, ",")), "no-cache")
}

// away is for what only the target could tell.
func away(snapshot *core.Snapshot) error {
	if fault := snapshot.LastPoll.Fault; fault != nil {
		return fault
	}
	return &httpError{status: http.StatusServiceUnavailable, retryAfter: retrySeconds,
		message: "foreman has not looked at its target yet"}
}

// writeList writes a reply that was encoded with its snapshot. Header keys
// are set in canonical form, which saves a lookup each.
func writeList(w http.ResponseWriter, r *http.Request, contentType string, reply core.Reply, at time.Time, s *core.Snapshot) error {
	header := w.Header()
	values := [...]string{contentType, reply.ETag, "", "false", strconv.Itoa(len(reply.Body))}
	if !at.IsZero() {
		values[2] = strconv.FormatInt(max(0, int64(time.Since(at)/time.Second)), 10)
		header[HeaderAge] = values[2:3]
	}
	if s.Status == core.Degraded {
		values[3] = "true"
	}
	header["Etag"], header[HeaderDegraded] = values[1:2], values[3:4]
	if matches(r.Header["If-None-Match"], reply.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header["Content-Type"], header["Content-Length"] = values[0:1], values[4:5]
	_, _ = w.Write(reply.Body) // fails only if the caller has left
	return nil
}

// matches reports whether an If-None-Match header names etag, weakly compared
// as RFC 9110 says.
func matches(header []string, etag string) bool {
	for _, line := range header {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == etag {
				return true
			}
		}
	}
	return false
}

func writeJSON(w http.ResponseWriter, contentType string, v any) error {
	return sendJSON(w, http.StatusOK, contentType, v)
}

func sendJSON(w http.ResponseWriter, status int, contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return send(w, status, contentType, body)
}

// send writes a whole answer.
func send(w http.ResponseWriter, status int, contentType string, body []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails only if the caller has left
	return nil
}
