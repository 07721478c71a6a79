package jobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	maxHooks     = 1000 // events that wait to be delivered
	atOnce       = 16   // deliveries under way
	hookTimeout  = 10 * time.Second
	hookPatience = 10 * time.Minute // from the first attempt to the last
	leastPause   = time.Second
	mostPause    = time.Minute
)

// hooks brings events to the webhooks of their jobs: those of one job in
// order, and no job's wait for another's. Beyond maxHooks events are dropped,
// but for the last of each job, which the store brings back.
//
//	offer ──► inbox ──► line of the job ──► Callback ──ok, undeliverable, or too late──► removed
//	                       ▲  ▲                 │
//	store: untold ends ────┘  └──── backoff ────┘
type hooks struct {
	callback func(ctx context.Context, url string, event core.Event) error
	store    Store
	describe func(job core.Job) core.Event
	log      *slog.Logger
	news     chan struct{} // of capacity 1: inbox has something

	mu      sync.Mutex
	inbox   []hook
	waiting int  // in inbox and lines
	lost    bool // the end of a job was dropped
}

type hook struct {
	job, url string
	event    core.Event
	ended    bool // it is the job's last
}

func newHooks(j *Jobs) *hooks {
	return &hooks{
		callback: j.deps.Callback, store: j.deps.Store, describe: j.event, log: j.log, news: make(chan struct{}, 1),
	}
}

// offer never blocks.
func (h *hooks) offer(job core.Job, event core.Event) {
	event.ID = hookID(job, event.At)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting >= maxHooks {
		h.lost = h.lost || job.State.Ended()
		return
	}
	h.waiting++
	h.inbox = append(h.inbox, hook{job.ID, job.Webhook, event, job.State.Ended()})
	signal(h.news)
}

// hookID is the same for the same end of a job, after a restart too. Within a
// millisecond it rises with what happens to the job.
func hookID(job core.Job, at time.Time) string {
	var id ulid.ULID
	sum := sha256.Sum256([]byte(job.ID))
	order := slices.Index(core.JobStates(), job.State)
	_ = id.SetTime(ulid.Timestamp(at)) // before the year 10889
	_ = id.SetEntropy(append([]byte{byte(len(job.Attempts)), byte(order)}, sum[:8]...))
	return id.String()
}

// hooksLoop is the state of one run.
type hooksLoop struct {
	*hooks
	lines   map[string]*line // by job
	busy    int
	results chan hookResult
	ends    chan []core.Job // from the store
	reading bool
	alarm   *time.Timer
}

// A line is what waits for one job's webhook.
type line struct {
	hooks []hook
	since time.Time // of the first attempt at the first hook; zero if there was none
	due   time.Time
	pause *backoff.ExponentialBackOff
	busy  bool
}

type hookResult struct {
	job string
	err error
}

// run delivers until ctx ends. What waits then is lost, but for ends.
func (h *hooks) run(ctx context.Context) {
	l := hooksLoop{
		hooks: h, lines: map[string]*line{}, alarm: time.NewTimer(0),
		results: make(chan hookResult), ends: make(chan []core.Job),
	}
	defer l.alarm.Stop()
	l.lost = true // perhaps, by whoever ran before
	for ctx.Err() == nil {
		l.take()
		l.refill(ctx)
		l.start(ctx)
		select {
		case <-h.news:
		case <-l.alarm.C:
		case r := <-l.results:
			l.settle(r)
		case ended := <-l.ends:
			l.restore(ended)
		case <-ctx.Done():
		}
	}
	for l.busy > 0 {
		<-l.results
		l.busy--
	}
	if l.reading {
		<-l.ends
	}
}

func (l *hooksLoop) take() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, h := range inbox {
		l.add(h)
	}
}

func (l *hooksLoop) add(h hook) {
	at := l.lines[h.job]
	if at == nil {
		at = &line{pause: backoff.NewExponentialBackOff()}
		at.pause.InitialInterval, at.pause.MaxInterval = leastPause, mostPause
		l.lines[h.job] = at
	}
	at.hooks = append(at.hooks, h)
}

// refill reads which ends are untold, if any may have been dropped and there
// is room.
func (l *hooksLoop) refill(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lost || l.reading || l.waiting > maxHooks/2 {
		return
	}
	l.lost, l.reading = false, true
	go func() {
		ended, err := l.store.Untold(ctx, maxHooks)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("it can't be read which webhooks have yet to be told", "error", err)
		}
		l.ends <- ended
	}()
}

// restore adds the ends that don't wait already.
func (l *hooksLoop) restore(ended []core.Job) {
	l.reading = false
	l.take()
	for _, job := range ended {
		if at := l.lines[job.ID]; at != nil && slices.ContainsFunc(at.hooks, func(h hook) bool { return h.ended }) {
			continue
		}
		l.offer(job, l.describe(job))
	}
}

// start begins the deliveries that are due, and sets the alarm for the next.
func (l *hooksLoop) start(ctx context.Context) {
	now := time.Now()
	var next time.Time
	for _, at := range l.lines {
		switch {
		case at.busy:
		case at.due.After(now):
			if next.IsZero() || at.due.Before(next) {
				next = at.due
			}
		case l.busy < atOnce: // else a result comes first
			if at.since.IsZero() {
				at.since = now
			}
			at.busy = true
			l.busy++
			go l.deliver(ctx, at.hooks[0], now.Sub(at.since) >= hookPatience)
		}
	}
	if l.alarm.Stop(); !next.IsZero() {
		l.alarm.Reset(time.Until(next))
	}
}

// deliver makes an attempt, and the last one if so. Its result is nil if the
// hook is done with.
func (l *hooksLoop) deliver(ctx context.Context, h hook, last bool) {
	attempt, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	err := l.callback(attempt, h.url, h.event)
	if err != nil && ctx.Err() == nil && (last || errors.Is(err, core.ErrUndeliverable)) {
		l.log.Warn("a job's webhook is given up", "job", h.job, "event", h.event.Type, "error", err)
		err = nil
	}
	if err == nil && h.ended {
		if err := l.store.Told(context.WithoutCancel(ctx), h.job); err != nil && !errors.Is(err, core.ErrNoJob) {
			l.log.Warn("a job's webhook is told again after a restart", "job", h.job, "error", err)
		}
	}
	l.results <- hookResult{h.job, err}
}

func (l *hooksLoop) settle(r hookResult) {
	l.busy--
	at := l.lines[r.job]
	at.busy = false
	if r.err != nil {
		at.due = time.Now().Add(at.pause.NextBackOff())
		return
	}
	at.pause.Reset()
	at.hooks, at.since, at.due = at.hooks[1:], time.Time{}, time.Time{}
	if len(at.hooks) == 0 {
		delete(l.lines, r.job)
	}
	l.mu.Lock()
	l.waiting--
	l.mu.Unlock()
}
