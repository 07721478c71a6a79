package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
)

// busySeconds is long for a Retry-After, since a queue that is full doesn't
// empty soon.
const busySeconds = 10

// none is the turn of a request that needs none.
type none struct{}

func (none) Done()      {}
func (none) Failed()    {}
func (none) More() bool { return false }

// turn waits until the request may run. Those that the worker model doesn't
// care about go at once: what the target has somebody else run, and what only
// unloads a model. Who wants the memory wants it now, not after all that waits
// for that model; the target lets finish what runs. A request that only loads
// a model takes its turn, for it drives another out.
func (s *service) turn(r *http.Request, name string, body []byte) (core.Turn, error) {
	model, queues := s.place(name)
	if s.deps.Acquire == nil || !queues || unloads(r.URL.Path, body) {
		return none{}, nil
	}
	caller, _ := s.guard.caller(r.Header)
	return s.deps.Acquire(r.Context(), model, caller)
}

// Place is the model that name means to the target, and whether requests for
// it take turns: not if the target has somebody else run it.
func (s *Server) Place(name string) (model string, queues bool) { return s.current.Load().place(name) }

func (s *service) place(name string) (model string, queues bool) {
	if core.InCloud(name) {
		return name, false
	}
	if model, ok := installed(s.inventory.Snapshot(), core.Meanings(name)); ok {
		return model.Name, !isRemote(model)
	}
	return name, true
}

// isRemote reports whether the target passes requests for m on to another.
func isRemote(m core.Model) bool {
	return bytes.Contains(m.Raw, []byte(`"remote_host"`)) && gjson.GetBytes(m.Raw, "remote_host").Str != ""
}

// longestKeep is more than anybody writes to say for how long, in bytes.
const longestKeep = 100

// unloads reports whether a request only unloads its model, as Ollama reads
// one (server/routes.go and api/types.go of 0.17.4). The body is an object.
func unloads(path string, body []byte) bool {
	if path != "/api/generate" && path != "/api/chat" || !bytes.Contains(body, []byte(`"keep_alive"`)) {
		return false
	}
	work := "prompt"
	if path == "/api/chat" {
		work = "messages"
	}
	var keep []byte
	works := false
	for key, value := range members(body) { // the last of a name counts
		switch {
		case means(key, "keep_alive"):
			keep = value
		case means(key, work) && string(value) != "null":
			works = !isEmpty(value)
		}
	}
	return !works && isZero(keep)
}

// isEmpty reports whether value is a string or a list with nothing in it.
func isEmpty(value []byte) bool {
	return string(value) == `""` || value[0] == '[' && bytes.TrimLeft(value[1:], jsonSpace)[0] == ']'
}

// isZero reports whether a keep_alive has the model leave at once.
func isZero(value []byte) bool {
	var keep any
	if len(value) > longestKeep || json.Unmarshal(value, &keep) != nil {
		return false
	}
	switch keep := keep.(type) {
	case float64:
		return keep >= 0 && keep < time.Nanosecond.Seconds()
	case string:
		d, err := time.ParseDuration(keep)
		return err == nil && d == 0
	default:
		return false
	}
}
