package outbox

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	leastBackoff = time.Second
	mostBackoff  = 5 * time.Minute
	maxAge       = 24 * time.Hour   // of an event that is worth telling
	lastTry      = time.Second      // for what waits when Run is to end
	anAttempt    = 10 * time.Second // where Options don't say
)

// Run delivers until ctx ends, and then for a second more, as long as all goes
// well. What waits after that stays in the file.
func (q *Queue) Run(ctx context.Context) error {
	l := newLoop(q)
	defer l.alarm.Stop()
	defer l.journal.close()
	l.restore()
	attempts := context.WithoutCancel(ctx) // each ends by itself
	for {
		l.turn(attempts)
		l.setAlarm()
		select {
		case <-q.changed:
		case <-l.alarm.C:
		case err := <-l.results:
			l.settle(err)
		case <-q.retry:
			l.delay.Reset()
			l.due, l.again = time.Time{}, l.cancel != nil
		case <-ctx.Done():
			l.finish(attempts)
			return nil
		}
	}
}

// loop is the state of one Run.
type loop struct {
	*Queue
	opts    Options // of this turn
	queue   []entry
	last    uint64 // number of the youngest entry
	fold    fold
	dropped int // events that no message has told of yet

	journal journal
	news    record // that isn't written

	alarm   *time.Timer
	results chan error         // from the one attempt
	cancel  context.CancelFunc // of the attempt under way, at the first entry; nil if there is none
	telling int                // of dropped, by that attempt
	again   bool               // if that attempt fails, the next follows at once
	due     time.Time          // of the next attempt
	delay   *backoff.ExponentialBackOff
	failing string // the error of the last attempt
	full    bool   // the queue has overflowed and isn't empty since
}

func newLoop(q *Queue) *loop {
	l := &loop{
		Queue: q, journal: journal{path: q.file},
		alarm: time.NewTimer(0), results: make(chan error), delay: backoff.NewExponentialBackOff(),
	}
	l.delay.InitialInterval, l.delay.MaxInterval, l.delay.Multiplier = leastBackoff, mostBackoff, 2
	return l
}

// restore begins with what an earlier foreman left.
func (l *loop) restore() {
	queue, saved, senseless, err := l.journal.read()
	if err != nil || senseless > 0 {
		l.log.Warn("some of the events that were saved for it can't be read", "file", l.file, "lines", senseless, "error", err)
	}
	l.queue, l.fold, l.dropped = queue, saved.Fold, saved.Dropped
	l.fold.restored(time.Now())
	for _, e := range queue {
		l.last = max(l.last, e.N)
	}
}

// turn does what is due.
func (l *loop) turn(ctx context.Context) {
	l.take()
	l.expire()
	l.save()
	l.begin(ctx)
}

// take folds what was offered into the queue.
func (l *loop) take() {
	l.mu.Lock()
	events, lost := l.inbox, l.lost
	l.inbox, l.lost, l.opts = nil, 0, l.Queue.opts
	l.status.Queued += len(events) // until it is counted below
	l.mu.Unlock()

	l.overflow(lost)
	now := time.Now()
	for _, event := range events {
		l.enqueue(l.fold.take(event, now, l.opts))
	}
	l.enqueue(l.fold.tend(now, l.opts))
	l.tell(func(s *core.NotifierStatus) { s.Folded = l.fold.kept })
}

func (l *loop) enqueue(entries []entry) {
	for _, e := range entries {
		if len(l.queue) >= capacity {
			oldest := 0
			if l.cancel != nil {
				oldest = 1 // the first may be arriving
			}
			l.drop(oldest)
			l.overflow(1)
		}
		l.last++
		e.N = l.last
		l.queue = append(l.queue, e)
		l.news.Add = append(l.news.Add, e)
	}
}

// overflow tells, once for each time that the queue fills up, that events
// are dropped.
func (l *loop) overflow(lost int) {
	l.dropped += lost
	if lost > 0 && !l.full {
		l.full = true
		l.log.Warn("too many events wait: the oldest are dropped", "capacity", capacity)
	}
}

// expire drops what is too old.
func (l *loop) expire() {
	n := 0
	for l.cancel == nil && len(l.queue) > 0 && time.Since(l.queue[0].Since) > maxAge {
		l.drop(0)
		n++
	}
	if l.dropped += n; n > 0 {
		l.log.Warn("events that are too old are dropped", "events", n, "age", maxAge)
	}
}

// drop takes out an entry that won't be delivered.
func (l *loop) drop(i int) {
	l.tell(func(s *core.NotifierStatus) { s.Dropped++ })
	l.remove(i)
}

func (l *loop) remove(i int) {
	l.fold.settled(l.queue[i].Event, time.Now())
	l.news.Done = append(l.news.Done, l.queue[i].N)
	l.queue = slices.Delete(l.queue, i, i+1)
	l.full = l.full && len(l.queue) > 0
}

// save brings the journal up to date.
func (l *loop) save() {
	failed := l.journal.err
	err := l.journal.save(l.news, l.queue, state{Fold: l.fold, Dropped: l.dropped})
	l.news = record{} // if it failed all is written the next time
	switch {
	case failed == nil && err != nil:
		l.log.Warn("the events that wait can't be saved: a restart would lose them", "error", err)
	case failed != nil && err == nil:
		l.log.Info("the events that wait are saved again")
	}
	l.tell(func(s *core.NotifierStatus) { s.Queued, s.Error = len(l.queue), l.problem() })
}

// problem is what the status says is wrong.
func (l *loop) problem() string {
	switch {
	case l.journal.err == nil:
		return l.failing
	case l.failing == "":
		return "not saved: " + l.journal.err.Error()
	default:
		return l.failing + "; not saved: " + l.journal.err.Error()
	}
}

// begin starts an attempt, if one is due.
func (l *loop) begin(ctx context.Context) {
	if l.cancel != nil || len(l.queue) == 0 || time.Now().Before(l.due) {
		return
	}
	l.telling = l.dropped
	message := l.queue[0].message(l.telling)
	ctx, l.cancel = context.WithTimeout(ctx, cmp.Or(l.opts.Timeout, anAttempt))
	go func() { l.results <- l.notifier.Notify(ctx, message) }()
}

// settle ends the attempt under way.
func (l *loop) settle(err error) {
	l.cancel()
	l.cancel = nil
	again := l.again
	l.again = false
	event := l.queue[0].Event
	if err != nil && !errors.Is(err, core.ErrUndeliverable) {
		if !again {
			l.due = time.Now().Add(min(l.delay.NextBackOff(), mostBackoff))
		}
		if err.Error() != l.failing {
			l.log.Warn("delivery failed: it is tried again", "event", event.Type, "id", event.ID, "error", err)
		}
		l.failing = err.Error()
		return
	}
	l.delay.Reset()
	l.due = time.Time{}
	if err != nil {
		l.failing = err.Error()
		l.log.Warn("the event is dropped", "event", event.Type, "id", event.ID, "error", err)
		l.drop(0)
		l.dropped++
		return
	}
	if l.failing != "" {
		l.log.Info("delivered again")
	}
	l.failing = ""
	l.dropped -= l.telling
	l.remove(0)
	at := time.Now()
	l.tell(func(s *core.NotifierStatus) { s.Delivered, s.LastAt = s.Delivered+1, &at })
}

// setAlarm is for what comes next by itself.
func (l *loop) setAlarm() {
	next := l.fold.due(l.opts)
	sooner := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	sooner(l.journal.retryAt())
	if l.cancel == nil && len(l.queue) > 0 {
		sooner(l.due)
	}
	if next.IsZero() {
		l.alarm.Stop()
		return
	}
	l.alarm.Reset(time.Until(next))
}

// finish tries once more what waits, and closes the queue.
func (l *loop) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastTry)
	defer cancel()
	l.due = time.Time{}
	for ctx.Err() == nil {
		l.turn(ctx)
		if l.cancel == nil {
			break // nothing waits, or only for the end of a backoff
		}
		select {
		case err := <-l.results:
			l.settle(err)
		case <-ctx.Done():
			l.cancel()
			l.settle(<-l.results)
		}
	}
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.take()
	l.save()
	if len(l.queue) > 0 {
		l.log.Info("events wait for the next start", "events", len(l.queue))
	}
}

// tell changes the status.
func (l *loop) tell(change func(*core.NotifierStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.status)
}
