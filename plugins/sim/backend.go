package sim

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"

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

// Configure starts the simulated Ollama, with the models of [Demo]. An empty
// URL means any port; else it is http://127.0.0.1:PORT, the port to listen on.
// There are no other settings.
func (b *Backend) Configure(ctx context.Context, settings core.Settings) (core.Upstream, error) {
	addr, err := listenAddr(settings.URL)
	if err != nil {
		return core.Upstream{}, err
	}
	if len(settings.Extra) > 0 {
		return core.Upstream{}, errors.New("the sim backend has no settings of its own")
	}
	server, err := Start(addr, Options{})
	if err != nil {
		return core.Upstream{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
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
