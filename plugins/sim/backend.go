package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// A Backend is a [core.Backend] over a [Server] of its own, which Configure
// starts. It reads the server's state directly, so faults that a script gives
// to paths don't reach it.
type Backend struct {
	mu     sync.Mutex
	server *Server // nil until configured
}

// NewBackend makes one that simulates nothing yet.
func NewBackend() *Backend { return new(Backend) }

var _ core.Backend = (*Backend)(nil)

// Configure starts the simulated Ollama, in place of a former one. An empty
// URL means any port; else it is http://127.0.0.1:PORT, the port to listen on.
func (b *Backend) Configure(ctx context.Context, settings core.Settings) (core.Upstream, error) {
	addr, err := listenAddr(settings.URL)
	if err != nil {
		return core.Upstream{}, err
	}
	opts, err := parseSettings(settings.Extra)
	if err != nil {
		return core.Upstream{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil { // first, since the new one may want its port
		b.server.Close()
		b.server = nil
	}
	server, err := Start(addr, opts)
	if err != nil {
		return core.Upstream{}, err
	}
	b.server = server
	return core.Upstream{URL: server.URL()}, nil
}

// Close ends the simulated Ollama.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == nil {
		return nil
	}
	return b.server.Close()
}

// Server is the simulated Ollama, or nil before Configure.
func (b *Backend) Server() *Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.server
}

// Probe implements [core.Backend].
func (b *Backend) Probe(ctx context.Context) (version string, err error) {
	s, err := b.running(ctx)
	if err != nil {
		return "", err
	}
	return s.version, nil
}

// Models implements [core.Backend].
func (b *Backend) Models(ctx context.Context, known string) (core.ModelList, error) {
	s, err := b.running(ctx)
	if err != nil {
		return core.ModelList{}, err
	}
	return s.list(known), nil
}

// Running implements [core.Backend].
func (b *Backend) Running(ctx context.Context) ([]core.Resident, error) {
	s, err := b.running(ctx)
	if err != nil {
		return nil, err
	}
	return s.residents(), nil
}

func (b *Backend) running(ctx context.Context) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := b.Server()
	if s == nil || s.isClosed() {
		return nil, &core.Fault{Reason: core.ReasonRefused, Detail: "the simulated ollama isn't running"}
	}
	return s, nil
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// list is what is installed. Its fingerprint counts changes, so a list that
// changes and changes back is another one.
func (s *Server) list(known string) core.ModelList {
	s.mu.Lock()
	defer s.mu.Unlock()
	fingerprint := fmt.Sprintf("%s-%d", s.nonce, s.catalog.changes)
	if known == fingerprint {
		return core.ModelList{Fingerprint: known, Unchanged: true}
	}
	installed := s.catalog.list()
	models := make([]core.Model, len(installed))
	for i, m := range installed {
		models[i] = m.core()
	}
	return core.ModelList{Fingerprint: fingerprint, Models: models}
}

// listenAddr is where a target URL wants the simulated Ollama to listen.
func listenAddr(target string) (string, error) {
	if target == "" {
		return "127.0.0.1:0", nil
	}
	u, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("simulated ollama: %w", err)
	}
	if u.Scheme != "http" || u.Port() == "" || (u.Path != "" && u.Path != "/") || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("simulated ollama: url %q: write http://127.0.0.1:PORT, or leave it out for any port", u.Redacted())
	}
	addr := u.Host
	if u.Hostname() == "localhost" {
		addr = "127.0.0.1:" + u.Port()
	}
	return addr, checkLoopback(addr)
}

// settings are the sim plugin's own.
type settings struct {
	Models  []modelSettings `json:"models"` // left out: Demo()
	VRAM    int64           `json:"vram"`
	Instant bool            `json:"instant"`
}

type modelSettings struct {
	Name            string   `json:"name"`
	Size            int64    `json:"size"`
	Family          string   `json:"family"`
	ParameterSize   string   `json:"parameter_size"`
	Quantization    string   `json:"quantization"`
	Load            duration `json:"load"`
	Context         int64    `json:"context"`
	TokensPerSecond float64  `json:"tokens_per_second"`
	Embedding       bool     `json:"embedding"`
}

// duration is one written like "3s".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

func parseSettings(extra json.RawMessage) (Options, error) {
	if len(extra) == 0 {
		return Options{}, nil
	}
	var set settings
	decoder := json.NewDecoder(bytes.NewReader(extra))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&set); err != nil {
		return Options{}, fmt.Errorf("sim settings: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Options{}, errors.New("sim settings: more than one JSON value")
	}
	if set.VRAM < 0 {
		return Options{}, fmt.Errorf("sim settings: vram is %d, below 0", set.VRAM)
	}
	opts := Options{VRAM: set.VRAM, Instant: set.Instant}
	if set.Models != nil {
		opts.Models = make([]Model, len(set.Models))
	}
	for i, m := range set.Models {
		if err := m.check(); err != nil {
			return Options{}, fmt.Errorf("sim settings: models[%d]: %w", i, err)
		}
		opts.Models[i] = Model{
			Name: m.Name, Size: m.Size, Family: m.Family, ParameterSize: m.ParameterSize, Quantization: m.Quantization,
			Load: time.Duration(m.Load), Context: m.Context, TokensPerSecond: m.TokensPerSecond, Embedding: m.Embedding,
		}
	}
	return opts, nil
}

func (m modelSettings) check() error {
	if _, err := core.ParseModelName(m.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if m.Size < 0 || m.Load < 0 || m.Context < 0 || m.TokensPerSecond < 0 {
		return errors.New("size, load, context and tokens_per_second can't be below 0")
	}
	return nil
}
