package core

import (
	"encoding/json"
	"time"
)

// A Model is one that the target has installed.
type Model struct {
	Name          string // as the target writes it, "llama3.2:latest"
	Digest        string // of its manifest, hex; "" where the backend has none
	Size          int64  // bytes on disk
	ModifiedAt    time.Time
	Family        string // "llama"
	ParameterSize string // "3.2B"
	Quantization  string // "Q4_K_M"

	// Raw is the JSON object that the target sent, valid UTF-8, with whatever
	// fields foreman has never heard of.
	Raw json.RawMessage
}

// A Resident is a model that is loaded. Neither its name nor its digest is a
// key: Ollama lists one runner twice after a model is made anew, and a deleted
// model until it unloads.
type Resident struct {
	Name          string
	Digest        string
	Size          int64 // bytes it takes, in whatever memory
	SizeVRAM      int64 // bytes of Size that are on the GPU
	ContextLength int64 // tokens; 0 where the target doesn't say
	ExpiresAt     time.Time
	Raw           json.RawMessage // as in Model
}

// EndOfTime is the last moment that JSON can write. As an unload time it means
// "never"; later ones are as good.
var EndOfTime = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// pinnedFor is how far ahead an unload time must be to mean "never": Ollama
// writes a negative keep_alive as some 292 years.
const pinnedFor = 10 * 365 * 24 * time.Hour

// Pinned reports whether r stays until somebody unloads it.
func (r Resident) Pinned(now time.Time) bool {
	return r.ExpiresAt.Sub(now) > pinnedFor
}
