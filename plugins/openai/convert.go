package openai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// model is e as foreman knows it. Its Raw is the server's own object with the
// fields of Ollama's /api/tags added, which take the place of any of the same
// name, so that it can be read in either shape and loses nothing else.
func (e entry) model() core.Model {
	m := core.Model{Name: e.id, Size: e.size, ParameterSize: humanCount(e.params)}
	if e.created != 0 {
		m.ModifiedAt = time.Unix(e.created, 0).UTC()
	}
	own := []member{
		{"name", e.id}, {"model", e.id}, {"modified_at", m.ModifiedAt}, {"size", m.Size}, {"digest", ""},
		{"details", map[string]string{"family": "", "parameter_size": m.ParameterSize, "quantization_level": ""}},
	}
	if e.created != 0 {
		own = append(own, member{"created", e.created})
	}
	m.Raw = e.raw(own)
	return m
}

// resident is the same in the shape of /api/ps. Its sizes are 0, since no
// server tells how much memory a model takes, or where. It unloads when
// somebody sees to it: none states a time.
func (e entry) resident() core.Resident {
	r := core.Resident{Name: e.id, ContextLength: e.context, ExpiresAt: core.EndOfTime}
	r.Raw = e.raw([]member{
		{"name", e.id}, {"model", e.id}, {"size", 0}, {"digest", ""},
		{"details", map[string]string{"family": "", "parameter_size": humanCount(e.params), "quantization_level": ""}},
		{"expires_at", r.ExpiresAt}, {"size_vram", 0}, {"context_length", e.context},
	})
	return r
}

type member struct {
	key   string
	value any
}

// raw is the object of own, and of what the server sent under other keys. A
// key that differs by case alone is left out too: clients in Go would take it
// for ours.
func (e entry) raw(own []member) json.RawMessage {
	raw := []byte{'{'}
	for i, m := range own {
		if i > 0 {
			raw = append(raw, ',')
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			panic(err) // only strings, numbers and times within RFC 3339
		}
		raw = fmt.Appendf(raw, "%q:%s", m.key, value)
	}
	for _, f := range e.lasting {
		if !slices.ContainsFunc(own, func(m member) bool { return strings.EqualFold(m.key, f.key) }) {
			raw = fmt.Appendf(raw, ",%s:%s", f.rawKey, f.rawValue)
		}
	}
	return append(raw, '}')
}

// humanCount writes a number of parameters as Ollama does: 3.2B, 494M.
func humanCount(n int64) string {
	if n == 0 {
		return ""
	}
	short := func(unit float64, suffix string) string {
		return strings.TrimSuffix(strconv.FormatFloat(float64(n)/unit, 'f', 1, 64), ".0") + suffix
	}
	switch {
	case n >= 1e9:
		return short(1e9, "B")
	case n >= 1e6:
		return short(1e6, "M")
	default:
		return short(1e3, "K")
	}
}
