package openai

import (
	"cmp"
	"crypto/sha256"
	"strconv"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

// An entry is a model in an answer of /v1/models or /api/v0/models. Only its
// id has to be there; what else is of an unexpected type counts as missing,
// since each server adds what it likes.
type entry struct {
	id      string
	created int64 // in Unix seconds, 0 if it isn't stated
	owner   string
	status  string // llama.cpp's router: loaded, unloaded, loading, sleeping
	state   string // LM Studio: loaded, not-loaded
	engine  bool   // it states max_model_len, as what runs a model does

	size    int64 // of the weights, in bytes
	params  int64
	context int64 // tokens

	lasting []field // those that don't differ from answer to answer
}

// A field is a member of an object, as it was sent.
type field struct{ key, rawKey, rawValue string }

// decodeList decodes an answer of either route. Servers written in Go, Ollama
// among them, say null for no models.
func decodeList(body []byte) ([]entry, *core.Fault) {
	entries, fault := target.DecodeList(body, "data", decodeEntry)
	if fault != nil && fault.Reason == core.ReasonNoModels {
		answer := gjson.ParseBytes(target.Clean(body))
		data, twice := target.Member(answer, "data")
		if data.Exists() && data.Type == gjson.Null && !twice && text(answer, "object") == "list" {
			return nil, nil
		}
	}
	return entries, fault
}

func decodeEntry(object gjson.Result) (e entry, bad string) {
	meta, _ := target.Member(object, "meta") // llama.cpp's
	status, _ := target.Member(object, "status")
	length := count(object, "max_model_len")
	e = entry{
		id:      text(object, "id"),
		created: unixSeconds(object),
		owner:   text(object, "owned_by"),
		status:  text(status, "value"),
		state:   text(object, "state"),
		engine:  length > 0,
		size:    count(meta, "size"),
		params:  count(meta, "n_params"),
		context: cmp.Or(count(object, "loaded_context_length"), count(meta, "n_ctx"), length,
			count(object, "max_context_length"), count(object, "context_length")),
	}
	if e.id == "" {
		return e, "id"
	}
	object.ForEach(func(key, v gjson.Result) bool {
		if !e.passes(key.Str) {
			e.lasting = append(e.lasting, field{key.Str, key.Raw, v.Raw})
		}
		return true
	})
	return e, ""
}

// passes reports whether a field says something of the moment and not of the
// model: llama.cpp and vLLM state as created when they answered, vLLM's
// permission has an id that is random, and what a router's status says comes
// and goes together with meta.
func (e entry) passes(key string) bool {
	return key == "created" || key == "permission" || e.status != "" && (key == "status" || key == "meta")
}

// content is what makes e the same model in another answer.
func (e entry) content() []byte {
	var b []byte
	for _, f := range e.lasting {
		b = append(b, f.rawKey...)
		b = append(b, f.rawValue...)
	}
	return b
}

// firstCreated remembers what was stated as created when a model was first
// seen with its present content, which is the best that servers which state
// the moment of their answer have to offer, and as good with any other.
type firstCreated struct {
	mu sync.Mutex
	at map[[sha256.Size]byte]int64 // by content, of the models of the last list
}

// settle puts what it remembers into entries, which are a whole list.
func (f *firstCreated) settle(entries []entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := make(map[[sha256.Size]byte]int64, len(entries))
	for i := range entries {
		key := sha256.Sum256(entries[i].content())
		if first, ok := f.at[key]; ok {
			entries[i].created = first
		}
		at[key] = entries[i].created
	}
	f.at = at
}

func text(object gjson.Result, key string) string {
	v, _ := target.Member(object, key)
	s, _ := target.Text(v)
	return s
}

// count is a positive number, else 0.
func count(object gjson.Result, key string) int64 {
	v, _ := target.Member(object, key)
	n, _ := target.Integer(v)
	return max(0, n)
}

// unixSeconds is when the object was created, in some servers with a fraction.
func unixSeconds(object gjson.Result) int64 {
	created, _ := target.Member(object, "created")
	seconds, err := strconv.ParseFloat(created.Raw, 64)
	if err != nil || seconds < 1 || seconds > float64(core.EndOfTime.Unix()) {
		return 0
	}
	return int64(seconds)
}
