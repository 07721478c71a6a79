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
	lost    bool // there may be ends that don't wait
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
	ends    chan untold
	reading bool            // a look at the store is under way
	over    map[string]bool // jobs whose end was settled since that look began
	rest    time.Time       // no look before
	alarm   *time.Timer
}

// untold is what the store said.
type untold struct {
	ended []core.Job
	err   error
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
	job  string
	err  error
	kept bool // the store doesn't know that it is done with
}

// run delivers until ctx ends. What waits then is lost, but for ends.
func (h *hooks) run(ctx context.Context) {
	l := hooksLoop{
		hooks: h, lines: map[string]*line{}, alarm: time.NewTimer(0),
		results: make(chan hookResult), ends: make(chan untold),
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
		case found := <-l.ends:
			l.restore(found)
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

// refill reads which ends are untold, if there may be some that don't wait,
// and there is room.
func (l *hooksLoop) refill(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lost || l.reading || l.waiting > maxHooks/2 || time.Now().Before(l.rest) {
		return
	}
	l.lost, l.reading, l.over = false, true, map[string]bool{}
	go func() {
		ended, err := l.store.Untold(ctx, maxHooks)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("it can't be read which webhooks have yet to be told", "error", err)
		}
		l.ends <- untold{ended, err}
	}()
}

// restore adds the ends that don't wait already. It reads on later if there
// may be more.
func (l *hooksLoop) restore(found untold) {
	l.reading = false
	l.take()
	for _, job := range found.ended {
		if l.over[job.ID] || l.lines[job.ID].ends() {
			continue
		}
		l.offer(job, l.describe(job))
	}
	if found.err != nil {
		l.rest = time.Now().Add(mostPause)
	}
	if found.err != nil || len(found.ended) == maxHooks {
		l.mu.Lock()
		l.lost = true
		l.mu.Unlock()
	}
}

// ends reports whether the end of the job waits in the line, which may be nil.
func (at *line) ends() bool {
	return at != nil && slices.ContainsFunc(at.hooks, func(h hook) bool { return h.ended })
}

// start begins the deliveries that are due, and sets the alarm for the next.
func (l *hooksLoop) start(ctx context.Context) {
	now := time.Now()
	var next time.Time
	if l.rest.After(now) {
		next = l.rest
	}
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
	result := hookResult{job: h.job, err: err}
	if err == nil && h.ended {
		write, cancel := writing(ctx, ctx.Done())
		defer cancel()
		if err := l.store.Told(write, h.job); err != nil && !errors.Is(err, core.ErrNoJob) {
			l.log.Warn("a job's webhook may be told its end again", "job", h.job, "error", err)
			result.kept = true
		}
	}
	l.results <- result
}

func (l *hooksLoop) settle(r hookResult) {
	l.busy--
	at := l.lines[r.job]
	at.busy = false
	if r.err != nil {
		at.due = time.Now().Add(at.pause.NextBackOff())
		return
	}
	if r.kept {
		l.rest = time.Now().Add(mostPause) // else it would be read, and told, over and over
	}
	if l.reading && at.hooks[0].ended {
		l.over[r.job] = true
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
