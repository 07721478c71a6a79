package sim

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// A Model is one that a [Server] has installed.
type Model struct {
	Name          string    // ":latest" is added where there is no tag
	Size          int64     // bytes, on disk and in memory
	Family        string    // "" means llama
	ParameterSize string    // "8B"
	Quantization  string    // "Q4_K_M"
	Digest        string    // "" derives 64 hex digits from the name
	ModifiedAt    time.Time // zero means when it is installed

	Load            time.Duration // how long it takes to load
	Context         int64         // tokens; 0 means 4096
	TokensPerSecond float64       // 0 means 50
	Embedding       bool          // it embeds, and can't generate

	// Extra are fields that the entry in /api/tags has besides the usual
	// ones. They must encode as JSON.
	Extra map[string]any
}

// Demo is what a demonstration has installed: one model for each thing there
// is to see.
func Demo() []Model {
	day := func(month time.Month, d int) time.Time {
		return time.Date(2026, month, d, 9, 30, 0, 0, time.UTC)
	}
	return []Model{
		{Name: "llama3.2:latest", Size: 2_019_393_189, Family: "llama", ParameterSize: "3.2B", Quantization: "Q4_K_M",
			ModifiedAt: day(time.October, 12), Load: 1500 * time.Millisecond, Context: 8192, TokensPerSecond: 40},
		{Name: "qwen3:14b", Size: 9_276_198_565, Family: "qwen3", ParameterSize: "14.8B", Quantization: "Q4_K_M",
			ModifiedAt: day(time.September, 28), Load: 4 * time.Second, Context: 16384, TokensPerSecond: 18},
		{Name: "acme/support-bot:v2", Size: 16_068_894_874, Family: "llama", ParameterSize: "8.0B", Quantization: "F16",
			ModifiedAt: day(time.September, 3), Load: 6 * time.Second, Context: 8192, TokensPerSecond: 25},
		{Name: "llama3.3:70b", Size: 42_520_413_916, Family: "llama", ParameterSize: "70.6B", Quantization: "Q4_K_M",
			ModifiedAt: day(time.June, 17), Load: 12 * time.Second, Context: 4096, TokensPerSecond: 4},
		{Name: "nomic-embed-text:latest", Size: 274_302_450, Family: "nomic-bert", ParameterSize: "137M", Quantization: "F16",
			ModifiedAt: day(time.May, 5), Load: 500 * time.Millisecond, Context: 2048, Embedding: true},
	}
}

// installed is a Model with its defaults filled in and its entry encoded. It
// is immutable.
type installed struct {
	Model
	key string          // equal for names that mean one model
	raw json.RawMessage // its entry in /api/tags
}

type details struct {
	ParentModel       string   `json:"parent_model"`
	Format            string   `json:"format"`
	Family            string   `json:"family"`
	Families          []string `json:"families"`
	ParameterSize     string   `json:"parameter_size"`
	QuantizationLevel string   `json:"quantization_level"`
}

func (m Model) details() details {
	return details{
		Format: "gguf", Family: m.Family, Families: []string{m.Family},
		ParameterSize: m.ParameterSize, QuantizationLevel: m.Quantization,
	}
}

func install(m Model, now time.Time) *installed {
	m.Name = strings.ToValidUTF8(m.Name, "\uFFFD") // as JSON will have it
	key := modelKey(m.Name)
	if name, err := core.ParseModelName(m.Name); err == nil {
		m.Name = display(m.Name, name)
	}
	if m.Digest == "" {
		sum := sha256.Sum256([]byte(key))
		m.Digest = hex.EncodeToString(sum[:])
	}
	if m.ModifiedAt.IsZero() {
		m.ModifiedAt = now
	}
	m.Family = cmp.Or(m.Family, "llama")
	m.Context = cmp.Or(m.Context, 4096)
	m.TokensPerSecond = cmp.Or(m.TokensPerSecond, 50)

	raw := mustJSON(struct {
		Name       string    `json:"name"`
		Model      string    `json:"model"`
		ModifiedAt time.Time `json:"modified_at"`
		Size       int64     `json:"size"`
		Digest     string    `json:"digest"`
		Details    details   `json:"details"`
	}{m.Name, m.Name, m.ModifiedAt, m.Size, m.Digest, m.details()})
	if len(m.Extra) > 0 {
		raw = append(append(raw[:len(raw)-1], ','), mustJSON(m.Extra)[1:]...)
	}
	return &installed{Model: m, key: key, raw: raw}
}

// modelKey is what the catalog is keyed by. A name that isn't one, which only a
// script installs, is listed but can't be asked for.
func modelKey(name string) string {
	if n, err := core.ParseModelName(name); err == nil {
		return n.String()
	}
	return name
}

// display writes name as Ollama lists it: in the case that it was installed
// with, with its tag, without default host and namespace.
func display(written string, name core.ModelName) string {
	if strings.LastIndexByte(written, ':') <= strings.LastIndexByte(written, '/') {
		written += ":latest"
	}
	// The shortest form is the end of any longer one.
	return written[len(written)-len(name.String()):]
}

func (m *installed) core() core.Model {
	return core.Model{
		Name: m.Name, Digest: m.Digest, Size: m.Size, ModifiedAt: m.ModifiedAt,
		Family: m.Family, ParameterSize: m.ParameterSize, Quantization: m.Quantization, Raw: m.raw,
	}
}

// catalog is what is installed. The server's mutex guards it.
type catalog struct {
	models  map[string]*installed // by modelKey
	changes uint64
	shuffle bool

	// Made when somebody asks, and nil again after each change.
	sorted []*installed
	tags   []byte
	openAI []byte
}

func (c *catalog) changed() {
	c.changes++
	c.sorted, c.tags, c.openAI = nil, nil, nil
}

// find returns the model that a request's name means.
func (c *catalog) find(name string) (*installed, bool) {
	n, err := core.ParseModelName(name)
	if err != nil {
		return nil, false
	}
	m, ok := c.models[n.String()]
	return m, ok
}

// list is newest first, then by name; or, shuffled, newest second first and
// random within it.
func (c *catalog) list() []*installed {
	if c.sorted == nil {
		c.sorted = make([]*installed, 0, len(c.models))
		for _, m := range c.models {
			c.sorted = append(c.sorted, m)
		}
		slices.SortFunc(c.sorted, func(a, b *installed) int {
			return cmp.Or(b.ModifiedAt.Compare(a.ModifiedAt), strings.Compare(a.Name, b.Name))
		})
	}
	if !c.shuffle {
		return c.sorted
	}
	list := slices.Clone(c.sorted)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b *installed) int {
		return cmp.Compare(b.ModifiedAt.Unix(), a.ModifiedAt.Unix())
	})
	return list
}

func (c *catalog) tagsBody() []byte {
	return c.cached(&c.tags, func(list []*installed) []byte {
		return encodeModels(list, func(m *installed) []byte { return m.raw })
	})
}

// cached is what encode makes of the list, kept in slot until the next
// change; a shuffled list is never kept.
func (c *catalog) cached(slot *[]byte, encode func([]*installed) []byte) []byte {
	if c.shuffle {
		return encode(c.list())
	}
	if *slot == nil {
		*slot = encode(c.list())
	}
	return *slot
}

// encodeModels writes {"models":[…]}.
func encodeModels[T any](list []T, raw func(T) []byte) []byte {
	entries := make([][]byte, len(list))
	for i, m := range list {
		entries[i] = raw(m)
	}
	return slices.Concat([]byte(`{"models":[`), bytes.Join(entries, []byte{','}), []byte(`]}`))
}

// Install adds models, or overwrites those of the same name.
func (s *Server) Install(models ...Model) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range models {
		in := install(m, now)
		s.catalog.models[in.key] = in
	}
	s.catalog.changed()
}

// Remove uninstalls the model. Where it is resident it stays so, as in
// Ollama, until it unloads.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.catalog.models, modelKey(name))
	s.catalog.changed()
}

// SetModels replaces everything that is installed.
func (s *Server) SetModels(models []Model) {
	now := time.Now()
	byKey := make(map[string]*installed, len(models))
	for _, m := range models {
		in := install(m, now)
		byKey[in.key] = in
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalog.models = byKey
	s.catalog.changed()
}

// Shuffle makes lists come in random order among models of the same second,
// as Ollama's do.
func (s *Server) Shuffle(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalog.shuffle = on
}

func (s *Server) find(name string) (*installed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalog.find(name)
}
