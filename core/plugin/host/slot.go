package host

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = 1200 * time.Millisecond // half of it more with the jitter
	// settled is how long a process must have run for the next failure to
	// count as the first again.
	settled     = 10 * time.Second
	swapTimeout = 5 * time.Second // for the calls of a process that is replaced, and for Run to replace it
)

// A hosted is a process of one kind.
type hosted[P any] interface {
	base() *process
	again(context.Context) (P, error) // with the spec and settings that it was started with
}

// A slot is a stable handle on a plugin whose process comes and goes.
type slot[P hosted[P]] struct {
	restarted func(core.PluginStatus) // or nil
	log       *slog.Logger

	running atomic.Pointer[P]                 // written by Run; nil while there is none
	status  atomic.Pointer[core.PluginStatus] // written by Run
	tried   chan struct{}                     // closed by Run after the first start, good or bad
	up      chan struct{}                     // holds one token after a start
	swaps   chan swap[P]                      // unbuffered: whoever sends knows that Run has it
	over    chan struct{}                     // closed once Run has ended

	// Run's own:
	start     func(context.Context) (P, error)
	delay     *backoff.ExponentialBackOff
	began     time.Time // the last start
	why       string    // it last went down or couldn't start; "" while it runs
	triedOnce sync.Once
	lives     sync.WaitGroup // all that go on
}

// A swap is a process for Run to take.
type swap[P any] struct {
	process P
	taken   chan struct{} // closed once calls go to it
}

func newSlot[P hosted[P]](spec Spec, start func(context.Context) (P, error), restarted func(core.PluginStatus), log *slog.Logger) *slot[P] {
	s := &slot[P]{
		restarted: restarted, log: log, start: start,
		tried: make(chan struct{}), up: make(chan struct{}, 1),
		swaps: make(chan swap[P]), over: make(chan struct{}),
		delay: backoff.NewExponentialBackOff(),
	}
	s.delay.InitialInterval, s.delay.MaxInterval, s.delay.Multiplier = firstBackoff, mostBackoff, 2
	s.status.Store(&core.PluginStatus{Name: spec.Name, Kind: spec.Kind, State: core.PluginStarting})
	return s
}

// Run keeps a process running until ctx ends, and stops it then. It is called
// once.
func (s *slot[P]) Run(ctx context.Context) error {
	defer close(s.over)
	var retry <-chan time.Time // while waiting
	l := s.startLife(ctx)
	for {
		select {
		case <-ctx.Done():
			s.running.Store(nil)
			s.lives.Wait()
			s.tell(func(st *core.PluginStatus) { st.State, st.Error = core.PluginStopped, "" })
			return nil
		case n := <-l.news:
			if n.err == nil {
				s.runs(n.process)
			} else {
				retry = time.After(s.ended(n.err))
			}
		case <-retry:
			s.tell(func(st *core.PluginStatus) { st.State = core.PluginStarting; st.Restarts++ })
			l = s.startLife(ctx)
		case sw := <-s.swaps:
			s.start, s.why, retry = sw.process.again, "", nil
			s.delay.Reset()
			s.runs(sw.process)
			close(sw.taken)
			l.end(errSwapped)
			l = s.goOn(ctx, sw.process)
		}
	}
}

// runs has calls go to p.
func (s *slot[P]) runs(p P) {
	s.running.Store(&p)
	base := p.base()
	s.tell(func(st *core.PluginStatus) {
		st.Name, st.Kind, st.State, st.Error = base.spec.Name, base.spec.Kind, core.PluginRunning, ""
		st.Version, st.Protocol = base.version, base.protocol
	})
	status := s.Status()
	s.log.Info("plugin runs", "plugin", status.Name, "pid", base.run.cmd.Process.Pid, "restarts", status.Restarts)
	s.triedOnce.Do(func() { close(s.tried) })
	signal(s.up)
	if status.Error, s.why = s.why, ""; status.Error != "" && s.restarted != nil {
		s.restarted(status)
	}
}

// ended takes note of a failed start, or of the end of what ran, and returns
// how long to wait before the next start.
func (s *slot[P]) ended(err error) time.Duration {
	s.running.Store(nil)
	s.why = cmp.Or(s.why, err.Error())
	if before := s.Status(); err.Error() != before.Error {
		s.log.Warn("plugin is down and will be started again", "plugin", before.Name, "error", err)
	}
	s.tell(func(st *core.PluginStatus) { st.State, st.Error = core.PluginWaiting, err.Error() })
	s.triedOnce.Do(func() { close(s.tried) })
	if time.Since(s.began) > settled {
		s.delay.Reset()
	}
	return s.delay.NextBackOff()
}

func (s *slot[P]) tell(change func(*core.PluginStatus)) {
	status := *s.status.Load()
	change(&status)
	s.status.Store(&status)
}

// Swap has p, which was started with another spec or other settings, take the
// running process's place: when it returns, calls go to p, and from then on
// restarts do as p was started. The former process is stopped once its calls
// in flight have ended, and five seconds later at the latest. Where Run has
// ended or doesn't take p within five seconds, p is stopped, and Swap returns
// false.
func (s *slot[P]) Swap(p P) bool {
	timer := time.NewTimer(swapTimeout)
	defer timer.Stop()
	sw := swap[P]{process: p, taken: make(chan struct{})}
	select {
	case s.swaps <- sw:
		<-sw.taken
		return true
	case <-s.over:
	case <-timer.C:
	}
	p.base().Stop()
	return false
}

// Tried is closed once the first start has succeeded or failed.
func (s *slot[P]) Tried() <-chan struct{} { return s.tried }

// Up receives after each successful start and swap; those that nobody received
// fold into one.
func (s *slot[P]) Up() <-chan struct{} { return s.up }

// Status says how the process does.
func (s *slot[P]) Status() core.PluginStatus { return *s.status.Load() }

// call calls the running process, and has it pinged if it doesn't answer.
func (s *slot[P]) call(f func(P) error) error {
	for {
		running := s.running.Load()
		if running == nil {
			return core.ErrUnavailable
		}
		p := (*running).base()
		if !p.calls.begin() {
			continue // replaced since it was loaded
		}
		defer p.calls.end()
		err := f(*running)
		if errors.Is(err, core.ErrNoAnswer) {
			signal(p.suspect)
		}
		return err
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}
