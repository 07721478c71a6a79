// Package sim is a simulated Ollama on loopback: it lists models, pretends to
// load them into the memory of a GPU, and streams a canned answer, in the
// shapes and with the errors of Ollama 0.17.4. [Backend] offers it as a
// backend plugin, so that anyone without a GPU can try foreman; tests and
// benchmarks script the [Server] itself.
//
// A model's way through memory:
//
//	         request                 loaded              last user gone
//	absent ───────────► queues for ─────────► in use ◄───────────────────► idle
//	  ▲                 the one load                        request         │
//	  └────────────────────── keep_alive over, unloaded, or evicted ────────┘
//
// Nothing runs on its own: keep_alive is judged whenever somebody looks, and
// each request does its waiting on the goroutine that serves it.
package sim

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what a [Server] simulates.
type Options struct {
	Models    []Model       // installed at the start; nil means Demo()
	VRAM      int64         // bytes on the simulated GPU; 0 means 24 GiB
	Version   string        // "" means 0.17.4
	KeepAlive time.Duration // of a request that states none; 0 means 5m, negative for ever
	Instant   bool          // no load or token delays: for tests and benchmarks
}

// A Server is one simulated Ollama. Its methods may be called at any time,
// concurrently.
type Server struct {
	version string
	instant bool
	nonce   string // keeps fingerprints of different servers apart
	routes  map[string]route

	http   *http.Server // nil without a listener
	addr   string       // "" without a listener
	served chan struct{}

	loading chan struct{} // holds a token while a model loads
	freed   chan struct{} // gets one, without waiting, when a runner falls idle

	completions atomic.Int64 // numbers the answers of /v1

	calls    sync.WaitGroup // handlers at work
	mu       sync.Mutex     // guards what follows
	closed   bool
	inflight map[*http.Request]context.CancelFunc
	catalog  catalog
	gpu      gpu
	script   script
}

// New makes a server that doesn't listen: its [Server.Handler] is called
// directly. A fault that cuts a connection panics with
// [http.ErrAbortHandler] there, as net/http expects it.
func New(opts Options) *Server {
	s := &Server{
		version:  cmp.Or(opts.Version, "0.17.4"),
		instant:  opts.Instant,
		nonce:    rand.Text(),
		served:   make(chan struct{}),
		loading:  make(chan struct{}, 1),
		freed:    make(chan struct{}, 1),
		inflight: make(map[*http.Request]context.CancelFunc),
		gpu: gpu{
			vram:      cmp.Or(opts.VRAM, 24<<30),
			keepAlive: forever(cmp.Or(opts.KeepAlive, 5*time.Minute)),
		},
		script: newScript(),
	}
	s.routes = s.table()
	models := opts.Models
	if models == nil {
		models = Demo()
	}
	s.SetModels(models)
	return s
}

// Start listens on addr ("127.0.0.1:0" for any port) and serves until
// [Server.Close]. Only loopback addresses are accepted.
func Start(addr string, opts Options) (*Server, error) {
	if err := checkLoopback(addr); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("simulated ollama: %w", err)
	}
	s := New(opts)
	s.addr = listener.Addr().String()
	s.http = &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.served)
		s.http.Serve(listener) // returns http.ErrServerClosed, after Close
	}()
	return s, nil
}

func checkLoopback(addr string) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("simulated ollama: can't listen on %q: not a loopback address, such as 127.0.0.1:0", addr)
	}
	return nil
}

// Addr is host:port, or "" if s doesn't listen.
func (s *Server) Addr() string { return s.addr }

// URL is the base URL without a trailing slash, or "" if s doesn't listen.
func (s *Server) URL() string {
	if s.addr == "" {
		return ""
	}
	return "http://" + s.addr
}

// Close closes the listener and every connection, cancels the requests in
// progress and waits for their handlers. A second Close does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	var err error
	if s.http != nil {
		// Connections go first, so that a cancelled stream is cut and not ended.
		err = s.http.Close()
		<-s.served
	}
	s.mu.Lock()
	for _, cancel := range s.inflight {
		cancel()
	}
	s.mu.Unlock()
	s.calls.Wait()
	return err
}

// Handler is the whole simulated Ollama, faults and counters included.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	r = r.WithContext(ctx)
	fault, err := s.enter(r, cancel)
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, "%s", err)
		return
	}
	defer s.leave(r)

	if fault != nil {
		fault(w, r)
		return
	}
	if s.addr != "" && foreign(r) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	s.dispatch(w, r)
}

var errClosed = errors.New("the simulated ollama is closed")

// enter counts r in, so that Close can cancel it and wait for it, and returns
// the fault that is to answer it, or nil.
func (s *Server) enter(r *http.Request, cancel context.CancelFunc) (Fault, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.calls.Add(1)
	s.inflight[r] = cancel
	return s.script.next(r.URL.Path), nil
}

func (s *Server) leave(r *http.Request) {
	s.mu.Lock()
	delete(s.inflight, r)
	s.mu.Unlock()
	s.calls.Done()
}

// pass lets d go by, or not if the server is instant.
func (s *Server) pass(ctx context.Context, d time.Duration) error {
	if s.instant {
		return ctx.Err()
	}
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
