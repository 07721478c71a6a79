// Package api answers HTTP: Ollama's and OpenAI's list routes from the
// snapshot, the health routes, and what passes through to the target. The
// commands speak to a running daemon through its [Client].
//
// Every request goes the same way: the host it was sent to, the page it came
// from and the caller's token are checked (guard.go); the route is looked up
// by the path exactly as it was sent; a list is written from one snapshot.
// Nothing that isn't in the table of routes reaches the target.
//
// What names a model goes on only if that is installed (admission.go), is
// retried while the target is away (proxy.go), and is watched over while
// bytes are outstanding (vigil.go).
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/seed-af7fee88/foreman/core"
)

// Inventory is what the API needs of the poller.
type Inventory interface {
	Snapshot() *core.Snapshot
	Recheck(ctx context.Context) *core.Snapshot
	Nudge()
}

// Options are the API's settings.
type Options struct {
	Version      string            // foreman's own
	OpenAI       bool              // serve /v1
	Management   bool              // pass pull, push, create, delete, copy and blobs to the target
	MaxBody      int64             // bytes of a request's body
	AllowedHosts []string          // names in a Host header, besides loopback and addresses
	Origins      []string          // of web pages that may ask, as browsers write them
	Tokens       map[string]string // callers' tokens by name; none lets everybody in
	Connections  int               // how many may be open at a time; 0 doesn't bound them
	PollInterval time.Duration     // told by /healthz
	Allow        []string          // patterns of model names that aren't checked
	RetryMaxWait time.Duration     // how long a request waits for a target that is away

	Upstream func() (core.Upstream, error)
	Probe    func(context.Context) error // asks the target for a sign of life
	Plugins  func() []core.PluginStatus
}

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeader         = 64 << 10
	drainTimeout      = 2 * time.Second
)

// Server answers for one target.
type Server struct {
	inventory Inventory
	opts      Options
	log       *slog.Logger
	routes    map[string]route
	guard     guard
	admission *admission
	target    *target
	pulse     *pulse
	shown     *showMemory
	bodies    *semaphore.Weighted       // bytes of requests' bodies that may be held
	changed   atomic.Pointer[time.Time] // when a request last loaded or unloaded a model; written by any, the last counts
}

// New returns a server. It does nothing until [Server.Run].
func New(inventory Inventory, opts Options, log *slog.Logger) *Server {
	s := &Server{
		inventory: inventory, opts: opts, log: log,
		guard:     newGuard(opts.AllowedHosts, opts.Origins, opts.Tokens),
		admission: newAdmission(inventory, opts.Allow),
		target:    newTarget(opts.Upstream),
		pulse:     &pulse{probe: opts.Probe},
		bodies:    newBudget(opts.MaxBody),
		shown:     newShowMemory(),
	}
	s.routes = s.table()
	return s
}

// Run serves on listener until ctx ends, then lets requests finish for two
// seconds. It closes listener.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	defer s.target.close()
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),

		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		DisableGeneralOptionsHandler: true, // OPTIONS * takes the same way as the rest
	}
	if s.opts.Connections > 0 {
		server.ConnState = newCrowd(s.opts.Connections, s.log).watch
	}
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if server.Shutdown(drain) != nil {
			_ = server.Close()
		}
	}()
	err := server.Serve(listener)
	stop()
	<-stopped
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Woken closes the idle connections to the target: after the machine slept
// they are dead.
func (s *Server) Woken() { s.target.close() }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(writer http.ResponseWriter, r *http.Request) {
	w := pace(writer, r)
	defer w.extend()
	w.Header()["Server"] = []string{"foreman/" + s.opts.Version}
	s.guard.origins.mark(w.Header(), r)
	if err := s.guard.check(r); err != nil {
		w.hurry(r)
		s.fail(w, r, err)
		return
	}
	route, ok := s.find(r)
	if !ok {
		s.fail(w, r, errorf(http.StatusNotFound, "no route %s: see foreman's README for what it serves", r.URL.Path))
		return
	}
	if s.guard.origins.asked(r) {
		preflight(w, r, route.allow())
		return
	}
	handler := route.handler(r.Method)
	if handler == nil {
		w.Header().Set("Allow", route.allow())
		s.fail(w, r, errorf(http.StatusMethodNotAllowed, "%s doesn't take %s", r.URL.Path, r.Method))
		return
	}
	if err := handler(w, r); err != nil {
		s.fail(w, r, err)
	}
}

// A handler answers, or returns what [Server.fail] shall tell the caller.
type handler func(w http.ResponseWriter, r *http.Request) error

// A route is its handlers by method; GET serves HEAD too.
type route map[string]handler

func (r route) handler(method string) handler {
	if h, ok := r[method]; ok || method != http.MethodHead {
		return h
	}
	return r[http.MethodGet]
}

func (r route) allow() string {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		if r.handler(m) != nil {
			methods = append(methods, m)
		}
	}
	return strings.Join(methods, ", ")
}

const (
	modelPrefix = "/v1/models/"
	blobPrefix  = "/api/blobs/"
)

// table is every route there is, by path. Those of the two prefixes take
// whatever follows them.
func (s *Server) table() map[string]route {
	get := func(h handler) route { return route{http.MethodGet: h} }
	post := func(h handler) route { return route{http.MethodPost: h} }
	routes := map[string]route{
		"/":            get(s.root),
		"/api/version": get(s.version),
		"/api/tags":    get(s.tags),
		"/api/ps":      get(s.ps),
		"/api/show":    post(s.show),
		"/healthz":     get(s.healthz),
		"/livez":       get(s.livez),
		"/readyz":      get(s.readyz),

		"/api/pull":    post(s.manage),
		"/api/push":    post(s.manage),
		"/api/create":  post(s.manage),
		"/api/copy":    post(s.manage),
		"/api/delete":  {http.MethodDelete: s.manage},
		"/api/me":      post(s.manage), // the stock client's first call of a push
		"/api/signout": post(s.manage),
		blobPrefix:     {http.MethodHead: s.manage, http.MethodPost: s.manage},

		"/api/generate":   post(s.inference),
		"/api/chat":       post(s.inference),
		"/api/embed":      post(s.inference),
		"/api/embeddings": post(s.inference),
	}
	if s.opts.OpenAI {
		routes["/v1/models"] = get(s.openAIModels)
		routes[modelPrefix] = get(s.openAIModel)
		for _, name := range []string{"chat/completions", "completions", "embeddings", "responses", "messages"} {
			routes["/v1/"+name] = post(s.inference)
		}
	}
	return routes
}

// find looks the path up as it was sent: an encoded or a doubled slash names
// no route.
func (s *Server) find(r *http.Request) (route, bool) {
	path := r.URL.EscapedPath()
	for _, prefix := range []string{modelPrefix, blobPrefix} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			found, ok := s.routes[prefix]
			return found, ok && rest != ""
		}
	}
	found, ok := s.routes[path]
	return found, ok
}
