package host

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

const (
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = 1500 * time.Millisecond
	// settled is how long a process must have run for the next failure to
	// count as the first again.
	settled     = 10 * time.Second
	pingTimeout = time.Second
)

// A Slot is a backend whose process comes and goes. It implements
// [core.Backend] but for Configure, which is the slot's own business.
type Slot struct {
	spec     Spec
	settings core.Settings
	log      *slog.Logger

	running atomic.Pointer[Process]           // written by Run; nil while there is none
	status  atomic.Pointer[core.PluginStatus] // written by Run
	tried   chan struct{}                     // closed by Run after the first start, good or bad
	up      chan struct{}                     // holds one token after a start
	suspect chan *Process                     // of capacity 1: one that didn't answer
}

// NewSlot returns a slot that is empty until [Slot.Run].
func NewSlot(spec Spec, settings core.Settings, log *slog.Logger) *Slot {
	s := &Slot{
		spec: spec, settings: settings, log: log,
		tried:   make(chan struct{}),
		up:      make(chan struct{}, 1),
		suspect: make(chan *Process, 1),
	}
	s.status.Store(&core.PluginStatus{Name: spec.Name, Kind: plugin.KindBackend, State: core.PluginStarting})
	return s
}

// Run keeps a process running until ctx ends, and stops it then.
func (s *Slot) Run(ctx context.Context) error {
	delay := backoff.NewExponentialBackOff()
	delay.InitialInterval, delay.MaxInterval, delay.Multiplier = firstBackoff, mostBackoff, 2
	for restarts := 0; ; restarts++ {
		began := time.Now()
		s.tell(core.PluginStarting, restarts, s.status.Load().Error)
		err := s.runOnce(ctx, restarts)
		if ctx.Err() != nil {
			s.tell(core.PluginStopped, restarts, "")
			return nil
		}
		if time.Since(began) > settled {
			delay.Reset()
		}
		wait := delay.NextBackOff()
		if err.Error() != s.status.Load().Error {
			s.log.Warn("plugin is down and will be started again", "plugin", s.spec.Name, "error", err)
		}
		s.tell(core.PluginWaiting, restarts, err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// runOnce runs one process to its end, and says why it ended.
func (s *Slot) runOnce(ctx context.Context, restarts int) error {
	p, err := Start(ctx, s.spec, s.settings, s.log)
	if err == nil {
		s.running.Store(p)
		s.tell(core.PluginRunning, restarts, "")
		s.log.Info("plugin runs", "plugin", s.spec.Name, "pid", p.run.cmd.Process.Pid, "restarts", restarts)
	}
	if restarts == 0 {
		close(s.tried)
	}
	if err != nil {
		return err
	}
	defer p.Stop()
	defer s.running.Store(nil)
	select {
	case s.up <- struct{}{}:
	default:
	}
	return s.watch(ctx, p)
}

// watch returns when p has ended, has gone silent, or ctx has ended.
func (s *Slot) watch(ctx context.Context, p *Process) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { cancel(p.Lost(ctx)) })
	defer watcher.Wait()
	defer cancel(nil)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case q := <-s.suspect:
			if q != p { // an earlier process, gone by now
				continue
			}
			ping, done := context.WithTimeout(ctx, pingTimeout)
			err := p.Ping(ping)
			done()
			if err != nil && ctx.Err() == nil {
				p.run.kill() // it wouldn't leave by itself either
				return errors.New("it hung and was killed")
			}
		}
	}
}

func (s *Slot) tell(state core.PluginState, restarts int, problem string) {
	s.status.Store(&core.PluginStatus{
		Name: s.spec.Name, Kind: plugin.KindBackend, State: state, Restarts: restarts, Error: problem,
	})
}

// Tried is closed once the first start has succeeded or failed.
func (s *Slot) Tried() <-chan struct{} { return s.tried }

// Up receives after each successful start; starts that nobody received fold
// into one.
func (s *Slot) Up() <-chan struct{} { return s.up }

// Status says how the process does.
func (s *Slot) Status() core.PluginStatus { return *s.status.Load() }

// Upstream is where inference requests go; its error is [core.ErrUnavailable].
func (s *Slot) Upstream() (core.Upstream, error) {
	p := s.running.Load()
	if p == nil {
		return core.Upstream{}, core.ErrUnavailable
	}
	return p.Upstream, nil
}

// Probe implements [core.Backend].
func (s *Slot) Probe(ctx context.Context) (version string, err error) {
	err = s.call(func(p *Process) error {
		version, err = p.Probe(ctx)
		return err
	})
	return version, err
}

// Models implements [core.Backend].
func (s *Slot) Models(ctx context.Context, known string) (list core.ModelList, err error) {
	err = s.call(func(p *Process) error {
		list, err = p.Models(ctx, known)
		return err
	})
	return list, err
}

// Running implements [core.Backend].
func (s *Slot) Running(ctx context.Context) (residents []core.Resident, err error) {
	err = s.call(func(p *Process) error {
		residents, err = p.Running(ctx)
		return err
	})
	return residents, err
}

// call calls the running process, and has it pinged if it doesn't answer.
func (s *Slot) call(f func(*Process) error) error {
	p := s.running.Load()
	if p == nil {
		return core.ErrUnavailable
	}
	err := f(p)
	if errors.Is(err, core.ErrNoAnswer) {
		select {
		case s.suspect <- p:
		default: // somebody suspects it already
		}
	}
	return err
}
