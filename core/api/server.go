// Package api answers HTTP: Ollama's and OpenAI's list routes from the
// snapshot, the health routes, the stream of events, the durable jobs, and what
// passes through to the target. The commands speak to a running daemon through its [Client].
//
// Every request goes the same way: the host it was sent to, the page it came
// from and the caller's token are checked (guard.go); the route is looked up
// by the path exactly as it was sent (service.go); a list is written from one
// snapshot. Nothing that isn't in the table of routes reaches the target.
//
// What names a model goes on only if that is installed (admission.go), waits
// for its turn (turn.go), is retried while the target is away (proxy.go), and
// is watched over while bytes are outstanding (vigil.go). A job is admitted in
// the same way, and kept (jobs.go); when its turn comes, it reaches the target
// by [Server.Do].
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Inventory is what the API needs of the poller.
type Inventory interface {
	Snapshot() *core.Snapshot
	Recheck(ctx context.Context) *core.Snapshot
	Nudge()
}

// Events is what the API needs of the memory of events.
type Events interface {
	// Since returns what came after the event of that ID, the oldest first,
	// and a channel that is closed once there is more. complete is false if
	// some of it, or the ID, isn't remembered any more; then the list is all
	// that is remembered. "" stands for before everything.
	Since(id string) (list []core.Event, complete bool, more <-chan struct{})
}

// Deps are what the API asks. They stay the same as long as it runs.
type Deps struct {
	Version   string // foreman's own
	Inventory Inventory
	Events    Events

	Upstream  func() (core.Upstream, error)
	Probe     func(context.Context) error // asks the target for a sign of life
	Plugins   func() []core.PluginStatus
	Notifiers func() []core.NotifierStatus
	Config    func() ConfigHealth

	// Missing is told who asked for a model that isn't installed: once a
	// minute for each caller and model, and no more than a hundred times a
	// minute. It returns at once.
	Missing func(core.MissingData)

	// Acquire waits for the turn of a caller's request, as long as ctx lasts;
	// its error may be [core.ErrBusy]. model is the installed one's name, or what
	// the caller wrote of one that isn't checked. nil lets all go at once.
	Acquire func(ctx context.Context, model, caller string) (core.Turn, error)
	Queue   func() Queue // without Resident and Jobs, which the API knows; nil if nothing queues
	Jobs    Jobs         // nil if none are kept
	NoJobs  string       // why none can be, told by /healthz; "" if that is as it should be
	JobsUI  http.Handler // of what is below /jobs/ui/; nil if there is none
}

// Options are the API's settings, all of which [Server.Set] changes.
type Options struct {
	OpenAI       bool              // serve /v1
	Management   bool              // pass pull, push, create, delete, copy and blobs to the target
	MaxBody      int64             // bytes of a request's body
	AllowedHosts []string          // names in a Host header, besides loopback and addresses
	Origins      []string          // of web pages that may ask, as browsers write them
	Tokens       map[string]string // callers' tokens by name; none lets everybody in
	Connections  int               // how many may be open at a time; 0 doesn't bound them
	PollInterval time.Duration     // told by /healthz
	Allow        []string          // patterns of model names that aren't checked, in any case
	RetryMaxWait time.Duration     // how long a request waits for a target that is away
}

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeader         = 64 << 10
	drainTimeout      = 2 * time.Second
)

// Server answers for one target. It holds what outlives a change of the
// options.
type Server struct {
	deps      Deps
	inventory Inventory // of deps
	log       *slog.Logger
	admission *admission
	notices   *notices
	target    *target
	pulse     *pulse
	shown     *showMemory
	crowd     *crowd
	streams   places                    // of events
	followers places                    // of a job's
	frames    frameMemory               // of events
	v1Only    atomic.Bool               // what the backend plugin last said of its target; written by any
	changed   atomic.Pointer[time.Time] // when a request last loaded or unloaded a model; written by any, the last counts
	current   atomic.Pointer[service]   // written by Set
}

// New returns a server. It does nothing until [Server.Run]. It panics if one
// of the origins isn't any.
func New(deps Deps, opts Options, log *slog.Logger) *Server {
	s := &Server{
		deps: deps, inventory: deps.Inventory, log: log,
		admission: newAdmission(deps.Inventory),
		notices:   newNotices(),
		target:    newTarget(deps.Upstream, ackTimeout, log),
		pulse:     &pulse{probe: deps.Probe},
		shown:     newShowMemory(),
		crowd:     newCrowd(log),
		streams:   places{most: maxStreams},
		followers: places{most: maxFollowers},
	}
	s.Set(opts)
	return s
}

// Set puts opts in force, whole, for the requests that begin from now on.
// Those under way end as they began, but for streams of events: one whose
// caller isn't let in any more ends. Calls of Set follow each other. It panics
// where [New] does.
func (s *Server) Set(opts Options) {
	s.current.Store(newService(s, opts, s.current.Load()))
	s.crowd.limit(opts.Connections)
}

// Run serves on listener until ctx ends, then lets requests finish for two
// seconds. It closes listener.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	defer s.target.close()
	ctx, stop := context.WithCancel(ctx)
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),

		ConnState: s.crowd.watch,
		ConnContext: func(of context.Context, conn net.Conn) context.Context {
			return context.WithValue(of, connKey{}, connection{conn, ctx.Done()})
		},
		DisableGeneralOptionsHandler: true, // OPTIONS * takes the same way as the rest
	}
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

// CloseIdle closes the idle connections to the target: after the machine slept
// they are dead.
func (s *Server) CloseIdle() { s.target.close() }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.current.Load().serve(w, r) }
