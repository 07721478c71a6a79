// Package inventory knows the models. Its [Poller] is the one goroutine that
// looks at the target and publishes what is believed of it as a
// [core.Snapshot]; its [State] keeps the last good list across restarts.
//
// The poller's loop does no I/O: a look runs beside it, at most one at a
// time, and comes back as a message.
//
//	         due, asked for, or woken
//	idle ───────────────────────────────► looking
//	 ▲                                       │
//	 └── publish Snapshot.After(look) ◄──────┘
//
// While the target is healthy or starting a look asks for both lists; while it
// is degraded it is a cheap probe first, and a whole look at once when that
// succeeds.
package inventory

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// recheckEvery is the least time between two looks that callers ask for.
	recheckEvery = time.Second
	// recheckWait is the longest that such a caller waits.
	recheckWait = 2 * time.Second
	// leastProbeTimeout is for a probe, which a short down_interval mustn't
	// cut off.
	leastProbeTimeout = time.Second
)

// A Backend is the part of [core.Backend] that a poller needs.
type Backend interface {
	Probe(ctx context.Context) (version string, err error)
	Models(ctx context.Context, known string) (core.ModelList, error)
	Running(ctx context.Context) ([]core.Resident, error)
}

// Options are a poller's settings.
type Options struct {
	Interval     time.Duration // between looks, from start to start
	Jitter       float64       // part of Interval by which it varies, each way
	Timeout      time.Duration // of a look
	FastInterval time.Duration // after the end of a failed look
	DownInterval time.Duration // between probes while degraded, from start to start
	Thresholds   core.Thresholds
}

// A Poller keeps a snapshot of one target up to date.
type Poller struct {
	backend Backend
	log     *slog.Logger

	opts    Options                     // read and written by Run
	current atomic.Pointer[publication] // written by Run
	looks   chan core.Look              // from the one look to Run
	changes chan Change
	nudge   chan struct{} // of capacity 1: wanted has moved
	woken   chan struct{} // of capacity 1
	wanted  atomic.Int64  // newest moment from which a caller wants a look, in ns since began
	began   time.Time
}

// publication is a snapshot and the news of its successor.
type publication struct {
	snapshot   *core.Snapshot
	superseded chan struct{}
}

// New returns a poller that publishes first, which names the target, until
// [Poller.Run] has seen it.
func New(backend Backend, first core.Snapshot, opts Options, log *slog.Logger) *Poller {
	p := &Poller{
		backend: backend, opts: opts, log: log,
		looks:   make(chan core.Look),
		changes: make(chan Change),
		nudge:   make(chan struct{}, 1),
		woken:   make(chan struct{}, 1),
		began:   time.Now(),
	}
	p.begin(first)
	return p
}

// begin forgets what was believed for what is known of first.
func (p *Poller) begin(first core.Snapshot) {
	first.Status = core.Starting
	p.publish(&first)
}

// Snapshot is what is believed now.
func (p *Poller) Snapshot() *core.Snapshot { return p.current.Load().snapshot }

// Watch is what is believed now, and a channel that closes when that changes.
func (p *Poller) Watch() (*core.Snapshot, <-chan struct{}) {
	now := p.current.Load()
	return now.snapshot, now.superseded
}

// Nudge asks for a look soon: at once, but at most one a second.
func (p *Poller) Nudge() {
	now := int64(time.Since(p.began))
	for {
		old := p.wanted.Load()
		if old >= now || p.wanted.CompareAndSwap(old, now) {
			break
		}
	}
	signal(p.nudge)
}

// Recheck asks for a look and returns what is believed after one that began
// since, or after two seconds, or when ctx ends. However many callers wait,
// they share one look, and it goes on when they leave.
func (p *Poller) Recheck(ctx context.Context) *core.Snapshot {
	ctx, cancel := context.WithTimeout(ctx, recheckWait)
	defer cancel()
	asked := time.Now()
	p.Nudge()
	for {
		s, superseded := p.Watch()
		if !s.LastPoll.At.Before(asked) {
			return s
		}
		select {
		case <-superseded:
		case <-ctx.Done():
			return s
		}
	}
}

// Wake says that the machine slept: a look under way is given up, since its
// connections are dead, and another begins at once.
func (p *Poller) Wake() { signal(p.woken) }

// A Change is what a running poller is told to do differently.
type Change struct {
	Options Options
	// Swap puts another backend in the place of the one that is asked, if it
	// isn't nil. No look is under way while it runs, and one begins after it.
	Swap func()
	// First replaces what is believed, if the backend's target is another.
	First *core.Snapshot
}

// Set changes how the poller looks, once its loop has come to it. The time of
// the next look counts from the last one, as if it had always been so. Its
// error is ctx's, and means that nothing has changed.
func (p *Poller) Set(ctx context.Context, change Change) error {
	select {
	case p.changes <- change:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is due already
	}
}

// Run looks at the target until ctx ends.
func (p *Poller) Run(ctx context.Context) error {
	l := loop{Poller: p, due: time.NewTimer(0)}
	defer l.due.Stop()
	for {
		select {
		case <-ctx.Done():
			l.abandon()
			return nil
		case <-l.due.C:
			l.start(ctx)
		case <-p.nudge:
			l.rush()
		case <-p.woken:
			l.abandon()
			l.start(ctx)
		case change := <-p.changes:
			l.adopt(ctx, change)
		case look := <-p.looks:
			l.fold(look)
		}
	}
}

// loop is the state of one Run.
type loop struct {
	*Poller
	due     *time.Timer        // when the next look begins
	last    core.Look          // the last one that was folded
	cancel  context.CancelFunc // of the look under way, nil if there is none
	started time.Time          // when the last look began
	lists   bool               // the next look asks for the lists though the target was down
}

// start begins a look, unless one is under way.
func (l *loop) start(ctx context.Context) {
	if l.cancel != nil {
		return
	}
	prev := l.Snapshot()
	probeOnly := prev.Status == core.Degraded && !l.lists
	l.lists = false
	l.started = time.Now()
	timeout := l.opts.Timeout
	if probeOnly {
		timeout = min(timeout, max(l.opts.DownInterval, leastProbeTimeout))
	}
	ctx, l.cancel = context.WithTimeout(ctx, timeout)
	go func() {
		if probeOnly {
			l.looks <- l.probe(ctx)
		} else {
			l.looks <- l.look(ctx, prev)
		}
	}()
}

// adopt takes change up. It doesn't wait for a look under way on the same
// backend: the next look uses the new options.
func (l *loop) adopt(ctx context.Context, change Change) {
	l.opts = change.Options
	switch {
	case change.Swap != nil:
		l.abandon()
		if change.First != nil { // before the swap: what is believed is never of a target that isn't asked any more
			l.last = core.Look{}
			l.begin(*change.First)
		}
		change.Swap()
		l.lists = true
		l.start(ctx)
	case l.cancel == nil && !l.last.At.IsZero():
		after := *l.Snapshot()
		after.NextPoll = l.next(&after, l.last)
		l.due.Reset(time.Until(after.NextPoll))
		l.publish(&after)
	}
}

// abandon gives up the look under way, if there is one, and waits for its end.
func (l *loop) abandon() {
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.looks // soon: a backend returns when its context ends
	l.cancel = nil
}

// rush brings the next look forward if somebody wants one from a later moment
// than the last one began at.
func (l *loop) rush() {
	if l.cancel != nil || l.wanted.Load() <= int64(l.started.Sub(l.began)) {
		return
	}
	soon := l.started.Add(recheckEvery)
	if next := l.Snapshot().NextPoll; next.IsZero() || soon.Before(next) {
		l.due.Reset(time.Until(soon))
	}
}

// fold publishes what is believed after look, and sets the time of the next.
func (l *loop) fold(look core.Look) {
	l.cancel()
	l.cancel = nil
	l.last = look
	l.lists = look.ProbeOnly && look.Fault == nil
	before := l.Snapshot()
	after := before.After(look, l.opts.Thresholds)
	after.NextPoll = l.next(after, look)
	l.due.Reset(time.Until(after.NextPoll))
	l.publish(after)
	l.report(before, after, look)
	l.rush()
}

// next is when the look after this one begins.
func (l *loop) next(after *core.Snapshot, look core.Look) time.Time {
	switch {
	case look.ProbeOnly && look.Fault == nil:
		return l.started // at once
	case look.Fault != nil && after.Status == core.Degraded:
		return l.started.Add(l.opts.DownInterval)
	case look.Fault != nil, after.Status == core.Degraded:
		return look.At.Add(look.Duration + l.opts.FastInterval) // a breath, however long this one hung
	default:
		spread := l.opts.Jitter * (2*rand.Float64() - 1)
		return l.started.Add(time.Duration(float64(l.opts.Interval) * (1 + spread)))
	}
}

func (p *Poller) publish(s *core.Snapshot) {
	old := p.current.Swap(&publication{snapshot: s, superseded: make(chan struct{})})
	if old != nil {
		close(old.superseded)
	}
}

// report logs what changed, not what stays.
func (p *Poller) report(before, after *core.Snapshot, look core.Look) {
	if before.Status != after.Status {
		level := slog.LevelInfo
		if after.Status == core.Degraded {
			level = slog.LevelWarn
		}
		p.log.Log(context.Background(), level, "target is "+string(after.Status), "was", before.Status)
	}
	if look.Fault != nil && (before.LastPoll.Fault == nil || before.LastPoll.Fault.Reason != look.Fault.Reason) {
		p.log.Warn("poll failed", "reason", look.Fault.Reason, "error", look.Fault.Detail, "failures", after.Failures)
	}
	if after.Inventory != nil && (before.Inventory == nil || after.Inventory.Tags.ETag != before.Inventory.Tags.ETag) {
		p.log.Info("inventory changed", "models", len(after.Inventory.Models))
	}
	if f := after.ResidencyFault; f != nil && before.ResidencyFault == nil {
		p.log.Warn("can't tell which models are resident", "reason", f.Reason, "error", f.Detail)
	}
}

// probe looks for a sign of life.
func (p *Poller) probe(ctx context.Context) core.Look {
	look := core.Look{ProbeOnly: true, Poll: core.Poll{At: time.Now()}}
	version, err := p.backend.Probe(ctx)
	look.Duration = time.Since(look.At)
	look.Version = version
	if err != nil {
		look.Fault = core.FaultOf(err)
	}
	return look
}

// look asks for both lists and the version at the same time, so that a target
// that hangs costs one timeout.
func (p *Poller) look(ctx context.Context, prev *core.Snapshot) core.Look {
	look := core.Look{Poll: core.Poll{At: time.Now()}}
	var all errgroup.Group
	all.Go(func() (err error) {
		look.Inventory, err = p.models(ctx, prev.Inventory)
		if err != nil {
			look.Fault = core.FaultOf(err)
		}
		return nil
	})
	all.Go(func() error {
		residents, err := p.backend.Running(ctx)
		if err != nil {
			look.ResidencyFault = core.FaultOf(err)
		} else {
			look.Residency = core.NewResidency(residents)
		}
		return nil
	})
	all.Go(func() error {
		look.Version, _ = p.backend.Probe(ctx) // the lists tell whether the target is well
		return nil
	})
	_ = all.Wait() // each function keeps its own error
	look.Duration = time.Since(look.At)
	return look
}

// models is the list that is installed now: held itself if it still is that.
func (p *Poller) models(ctx context.Context, held *core.Inventory) (*core.Inventory, error) {
	known := ""
	if held != nil {
		known = held.Fingerprint
	}
	list, err := p.backend.Models(ctx, known)
	if err != nil {
		return nil, err
	}
	if list.Unchanged {
		return held, nil
	}
	return core.NewInventory(list.Models, list.Fingerprint), nil
}
