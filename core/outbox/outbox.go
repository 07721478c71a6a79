// Package outbox tells people: it brings events to a notifier, at least once
// each and in order, however slow or dead that is, and never makes the one who
// offers an event wait. A [Queue] belongs to one notifier; the goroutine of its
// [Queue.Run] owns what waits, the file that keeps it, and what is folded.
//
//	Offer ──► inbox ──► fold ──► queue, and file ──► Notify ──ok──► removed
//	 wanted, or about     │           ▲                 │
//	 health               │           └──── backoff ────┤ error
//	                 held, folded                       └─ ErrUndeliverable ──► dropped
//
// # Folding
//
// A target that flaps makes no storm. A window of Options.MinInterval begins
// with each degraded that is let through; the recovered after it is let
// through at once, and whatever comes then waits for the window's end:
//
//	              degraded: tell, a window begins
//	well ──────────────────────────────────────────► down ──┐
//	 ▲ ▲ │                                            │ ▲ ▲ │ Options.RemindEvery after the
//	 │ │ │ degraded within the window: hold           │ │ └─┘ last telling arrived: tell again
//	 │ │ └───────────► held ──────────────────────────┼─┘
//	 │ └── recovered: ──┘    end of the window: tell, │
//	 │     fold both         another begins           │
//	 └────────────────────────────────────────────────┘
//	                recovered: tell
//
// The next message about health says how many were folded: in its data as
// "folded", and at the end of its sentence. A held event keeps its ID, so it
// may arrive after events that are younger. Another target begins at well.
//
// # Dropping
//
// An event is dropped if a thousand wait and it is the oldest, if it is older
// than a day, or if the notifier says [core.ErrUndeliverable]. That is logged
// and counted; the next message that arrives says "dropped": n in its data.
//
// # The file
//
// It is a journal: a line of JSON for each turn of the loop, with what was
// added, what is done, and what is folded, written before the first attempt
// and rewritten now and then. There is no fsync, which would cost more than
// the delivery: a foreman that is killed loses nothing, a power cut may lose
// what was written last. That is why the loop can write by itself; nobody
// waits for it. A line that can't be read is skipped. While the disk is full
// the queue goes on in memory.
package outbox

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// capacity is how many events may wait. Until Run has taken them, as many may
// be offered.
const capacity = 1000

// A Notifier is the part of [core.Notifier] that a queue needs.
type Notifier interface {
	Notify(ctx context.Context, event core.Event) error
}

// Options are what a queue's table in the config says.
type Options struct {
	Events      []string      // globs of the event types that are wanted
	MinInterval time.Duration // at most one degraded/recovered pair in it; 0 folds nothing
	RemindEvery time.Duration // 0: never
	Timeout     time.Duration // of one attempt; 0 is ten seconds
}

// wants reports whether the notifier is to hear of such events.
func (o Options) wants(kind core.EventType) bool { return kind.Matches(o.Events...) }

// A Queue brings events to one notifier.
type Queue struct {
	name     string
	notifier Notifier
	file     string
	log      *slog.Logger

	changed chan struct{} // of capacity 1: inbox or opts are others
	retry   chan struct{} // of capacity 1

	mu     sync.Mutex
	opts   Options
	inbox  []core.Event // offered, and not yet taken by Run
	lost   int          // dropped from the inbox since Run looked
	over   bool         // Run has ended
	status core.NotifierStatus
}

// New returns the queue of the notifier that the config calls name. What an
// earlier one left in dir is delivered first.
func New(name string, n Notifier, dir string, opts Options, log *slog.Logger) *Queue {
	return &Queue{
		name: name, notifier: n, file: fileOf(dir, name), log: log.With("notifier", name),
		changed: make(chan struct{}, 1), retry: make(chan struct{}, 1),
		opts: opts, status: core.NotifierStatus{Name: name},
	}
}

// Offer hands over an event that has its ID. It never blocks. Before Run
// begins events wait; once it has ended they are dropped, and counted.
func (q *Queue) Offer(event core.Event) {
	if q.accept(event) {
		signal(q.changed)
	} else {
		q.log.Warn("an event came too late to be delivered", "event", event.Type, "id", event.ID)
	}
}

// accept reports false for an event that comes too late.
func (q *Queue) accept(event core.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !q.opts.wants(event.Type) && !aboutHealth(event.Type):
		return true // and that is all
	case q.over:
		q.status.Dropped++
		return false
	case len(q.inbox) == capacity:
		q.inbox = slices.Delete(q.inbox, 0, 1)
		q.status.Dropped++
		q.lost++
	}
	q.inbox = append(q.inbox, event)
	return true
}

// Set replaces the options. Events that wait already are delivered still.
func (q *Queue) Set(opts Options) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.opts = opts
	signal(q.changed)
}

// Retry says that the notifier is up again: what waits for the end of a
// backoff is tried now.
func (q *Queue) Retry() { signal(q.retry) }

// Status is what /healthz tells of the queue.
func (q *Queue) Status() core.NotifierStatus {
	q.mu.Lock()
	defer q.mu.Unlock()
	status := q.status
	status.Queued += len(q.inbox)
	return status
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}
