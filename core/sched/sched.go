package sched

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// ErrStopped is returned once Run has ended. It is a [context.Canceled].
var ErrStopped = fmt.Errorf("the scheduler has stopped: %w", context.Canceled)

const (
	// confirmWithin bounds a look at what is resident.
	confirmWithin = 2 * time.Second
	// boardEvery is the least time between two boards.
	boardEvery = 100 * time.Millisecond
)

// Deps are what a scheduler asks.
type Deps struct {
	// Resident is what was last seen in memory, and when that look began. It
	// must be cheap.
	Resident func() ([]core.Resident, time.Time)
	// Confirm asks the target what is in memory.
	Confirm func(ctx context.Context) ([]core.Resident, error)
}

// Options are a scheduler's settings.
type Options struct {
	Rules
	MaxWaiting int      // callers on the line that may wait; at least 1
	Beside     []string // patterns, as of [path.Match], of names of models that don't queue
}

// A Scheduler gives callers and jobs their turns. The goroutine of its Run
// owns the [Queue]; what is resident it learns in three ways:
//
//   - A request that got its turn makes its model resident: the target loads
//     it, and may drop whatever else it holds. How long that takes is part of
//     the request's run.
//   - A look at the target is taken before a swap, beside the loop, unless the
//     model is known to be resident and none else has work. If the look fails,
//     what was believed stands.
//   - A snapshot counts if it was taken since anything last ran here: while
//     something runs its model is resident, whatever a list says. So a model
//     whose keep_alive ran out loses its claim to the turn, and one that
//     somebody loaded past foreman costs the queue nothing but a look.
type Scheduler struct {
	deps    Deps
	log     *slog.Logger
	opts    atomic.Pointer[Options] // written by New and Set
	board   atomic.Pointer[Board]   // written by New and Run
	calls   chan *call
	leaves  chan *call
	returns chan returned
	changed chan struct{} // of capacity 1: opts have
	stopped chan struct{} // closed at the end of Run
}

// call is an Acquire that is under way or got its turn.
type call struct {
	Request
	answer chan answer // of capacity 1
}

type answer struct {
	turn *Turn
	err  error
}

type returned struct {
	*call
	failed bool
}

// New returns a scheduler with nothing in it.
func New(deps Deps, opts Options, log *slog.Logger) *Scheduler {
	s := &Scheduler{
		deps: deps, log: log,
		calls:   make(chan *call),
		leaves:  make(chan *call),
		returns: make(chan returned),
		changed: make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	s.board.Store(&Board{})
	s.Set(opts)
	return s
}

// Set changes the settings. What runs and waits stays.
func (s *Scheduler) Set(opts Options) {
	opts.Beside = slices.Clone(opts.Beside)
	for i := range opts.Beside {
		opts.Beside[i] = strings.ToLower(opts.Beside[i])
	}
	s.opts.Store(&opts)
	select {
	case s.changed <- struct{}{}:
	default: // the loop is about to look
	}
}

// Board is what the queue looked like a moment ago, a tenth of a second at
// most. It mustn't be changed.
func (s *Scheduler) Board() *Board { return s.board.Load() }

// Acquire waits for r's turn, which the caller gives back by [Turn.Done].
// If ctx ends first, r leaves the queue and the error is ctx's. Others are
// [core.ErrBusy], [ErrStopped], and one for an ID that waits or runs already.
func (s *Scheduler) Acquire(ctx context.Context, r Request) (*Turn, error) {
	if s.opts.Load().isBeside(r) {
		return &Turn{}, nil
	}
	c := &call{Request: r, answer: make(chan answer, 1)}
	select {
	case s.calls <- c:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.stopped:
		return nil, ErrStopped
	}
	select {
	case a := <-c.answer:
		return a.turn, a.err
	case <-ctx.Done():
		select {
		case s.leaves <- c:
		case <-s.stopped:
		}
		return nil, ctx.Err()
	case <-s.stopped:
		return nil, ErrStopped
	}
}

// isBeside reports whether r's model doesn't queue. A pattern may leave out
// the tag "latest", as a caller may.
func (o *Options) isBeside(r Request) bool {
	if len(o.Beside) == 0 {
		return false
	}
	name := r.Model.String()
	short := strings.TrimSuffix(name, ":latest")
	return slices.ContainsFunc(o.Beside, func(pattern string) bool {
		long, _ := path.Match(pattern, name)
		brief, _ := path.Match(pattern, short)
		return long || brief
	})
}

// A Turn is the right to run one request.
type Turn struct {
	scheduler *Scheduler // nil of a model that doesn't queue
	call      *call
	more      bool
	over      atomic.Bool
}

// More reports whether other work for the model waited as the turn began.
func (t *Turn) More() bool { return t.more }

// Done gives the turn back. Only the first Done or Failed counts.
func (t *Turn) Done() { t.giveBack(false) }

// Failed gives the turn back and says that the target couldn't run the model:
// others go before its next request.
func (t *Turn) Failed() { t.giveBack(true) }

func (t *Turn) giveBack(failed bool) {
	if t.scheduler == nil || t.over.Swap(true) {
		return
	}
	select {
	case t.scheduler.returns <- returned{t.call, failed}:
	case <-t.scheduler.stopped:
	}
}

// names are those of the residents.
func names(residents []core.Resident) []core.ModelName {
	list := make([]core.ModelName, len(residents))
	for i, r := range residents {
		list[i] = core.NameOf(r.Name)
	}
	return list
}
