package sched

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Run gives out turns until ctx ends. Those who wait then get [ErrStopped].
func (s *Scheduler) Run(ctx context.Context) error {
	defer close(s.stopped)
	l := loop{
		Scheduler: s, queue: NewQueue(s.opts.Load().Rules), known: map[string]*call{},
		looks: make(chan look), alarm: time.NewTimer(0), redraw: time.NewTimer(0),
	}
	defer l.alarm.Stop()
	defer l.redraw.Stop()
	defer l.abandon()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-s.calls:
			l.admit(ctx, c)
		case c := <-s.leaves:
			l.forget(ctx, c)
		case r := <-s.returns:
			l.end(ctx, r)
		case look := <-l.looks:
			l.confirm(ctx, look)
		case <-s.changed:
			l.queue.SetRules(s.opts.Load().Rules)
			l.release()
			l.act(ctx)
		case <-l.alarm.C:
			l.act(ctx)
		case <-l.redraw.C:
		}
		l.draw()
	}
}

// loop is the state of one Run.
type loop struct {
	*Scheduler
	queue    *Queue
	known    map[string]*call // all that wait or run, by ID
	waiting  int              // callers on the line among them that wait
	resident []core.ModelName // what is believed to be in memory
	seen     time.Time        // when that was last so

	cancel context.CancelFunc // of the look under way, nil if there is none
	looks  chan look          // from the one look to the loop
	blind  bool               // the last look failed

	alarm  *time.Timer // when to ask the queue again
	redraw *time.Timer // set while stale
	drawn  time.Time   // the last board
	stale  bool        // there is news since
}

// look is the result of a [Deps.Confirm].
type look struct {
	residents []core.Resident
	err       error
}

func (l *loop) admit(ctx context.Context, c *call) {
	if l.opts.Load().isBeside(c.Request) { // since a moment ago
		c.answer <- answer{turn: &Turn{}}
		return
	}
	if !l.queue.Add(c.Request) {
		c.answer <- answer{err: fmt.Errorf("%s waits or runs already", c.ID)}
		return
	}
	l.known[c.ID] = c
	if c.Interactive {
		l.waiting++
	}
	l.act(ctx)
	if c.Interactive && l.waiting > l.opts.Load().MaxWaiting && l.leave(c) {
		c.answer <- answer{err: core.ErrBusy}
	}
}

// leave takes a call out of the queue, if it still waits.
func (l *loop) leave(c *call) bool {
	if !l.queue.Leave(c.ID) {
		return false
	}
	delete(l.known, c.ID)
	if c.Interactive {
		l.waiting--
	}
	return true
}

// release lets those go at once whose model doesn't queue any more.
func (l *loop) release() {
	opts := l.opts.Load()
	for _, c := range l.known {
		if opts.isBeside(c.Request) && l.leave(c) {
			c.answer <- answer{turn: &Turn{}}
		}
	}
}

// forget takes out a call whose caller has left, and who may have got the
// turn meanwhile.
func (l *loop) forget(ctx context.Context, c *call) {
	if l.known[c.ID] != c {
		return
	}
	if l.leave(c) {
		l.act(ctx)
	} else {
		l.end(ctx, returned{call: c})
	}
}

func (l *loop) end(ctx context.Context, r returned) {
	delete(l.known, r.ID)
	l.seen = time.Now()
	l.queue.Done(r.ID, l.seen)
	if r.failed {
		l.believe(slices.DeleteFunc(l.resident, func(m core.ModelName) bool { return m == r.Model }))
	}
	l.act(ctx)
}

// act does what the queue says until that is to wait.
func (l *loop) act(ctx context.Context) {
	if l.cancel != nil {
		return // what the look brings decides
	}
	if residents, at := l.deps.Resident(); at.After(l.seen) && len(l.queue.running) == 0 {
		l.seen = at
		l.believe(names(residents))
	}
	l.carryOut(ctx, false)
}

// carryOut is act once it is known what is resident; looked says that it has
// just been asked.
func (l *loop) carryOut(ctx context.Context, looked bool) {
	for {
		switch step := l.queue.Next(time.Now()); step.Do {
		case Start:
			l.start(step.Request)
		case Swap:
			if !looked && l.mustLook(step.Model) {
				l.look(ctx)
				return
			}
			l.swap(step.Model)
		default:
			l.alarm.Stop()
			if !step.Until.IsZero() {
				l.alarm.Reset(time.Until(step.Until))
			}
			return
		}
	}
}

func (l *loop) start(r Request) {
	c := l.known[r.ID]
	if r.Interactive {
		l.waiting--
	}
	c.answer <- answer{turn: &Turn{scheduler: l.Scheduler, call: c, more: l.queue.Waits(r.Model)}}
}

// mustLook reports whether to look before a swap to next: it may have to be
// loaded, or that isn't the only choice.
func (l *loop) mustLook(next core.ModelName) bool {
	return !slices.Contains(l.resident, next) ||
		slices.ContainsFunc(l.queue.models, func(m *model) bool { return m.waits() && m.name != next })
}

// swap gives next the turn. If the target has to load it, what else it holds
// isn't known until the next look.
func (l *loop) swap(next core.ModelName) {
	if !slices.Contains(l.resident, next) {
		l.log.Info("swapping models", "to", next.String())
		l.believe([]core.ModelName{next})
		return
	}
	l.believe(l.resident)
}

func (l *loop) believe(resident []core.ModelName) {
	l.resident = resident
	l.queue.Resident(resident, time.Now())
}

// look asks the target what is in memory, beside the loop.
func (l *loop) look(ctx context.Context) {
	ctx, l.cancel = context.WithTimeout(ctx, confirmWithin)
	go func() {
		residents, err := l.deps.Confirm(ctx)
		l.looks <- look{residents, err}
	}()
}

// confirm goes on with what a look brought.
func (l *loop) confirm(ctx context.Context, found look) {
	l.cancel()
	l.cancel = nil
	resident := l.resident
	if found.err == nil {
		resident = names(found.residents)
		l.seen = time.Now()
	} else if !l.blind {
		l.log.Warn("can't confirm which models are resident", "error", found.err)
	}
	l.blind = found.err != nil
	l.believe(resident)
	l.carryOut(ctx, true)
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

// draw publishes the board, at most one every boardEvery.
func (l *loop) draw() {
	now := time.Now()
	if wait := l.drawn.Add(boardEvery).Sub(now); wait > 0 {
		if !l.stale {
			l.stale = true
			l.redraw.Reset(wait)
		}
		return
	}
	board := l.queue.Board(now)
	l.board.Store(&board)
	l.drawn, l.stale = now, false
}
