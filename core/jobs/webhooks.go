package jobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	maxWaiting      = 1000 // events that wait to be delivered
	atOnce          = 16   // deliveries under way
	webhookTimeout  = 10 * time.Second
	webhookPatience = 10 * time.Minute // from the first attempt to the last
	leastPause      = time.Second
	mostPause       = time.Minute
)

// webhooks brings events to the webhooks of their jobs: those of one job in
// order, and no job's wait for another's. Beyond maxWaiting events are dropped,
// but for the last of each job, which the store brings back.
//
//	offer ──► inbox ──► line of the job ──► Webhook ──ok, undeliverable, or too late──► removed
//	                       ▲  ▲                 │
//	store: untold ends ────┘  └──── backoff ────┘
type webhooks struct {
	post     func(ctx context.Context, url string, event core.Event) error
	store    Store
	describe func(job core.Job) core.Event
	log      *slog.Logger
	news     chan struct{} // of capacity 1: inbox has something

	mu      sync.Mutex
	inbox   []posting
	waiting int  // in inbox and lines
	lost    bool // there may be ends that don't wait
}

// A posting is an event for the webhook of a job.
type posting struct {
	job, url string
	event    core.Event
	ended    bool // it is the job's last
}

func newWebhooks(j *Jobs) *webhooks {
	return &webhooks{
		post: j.deps.Webhook, store: j.deps.Store, describe: j.event, log: j.log, news: make(chan struct{}, 1),
	}
}

// offer never blocks.
func (w *webhooks) offer(job core.Job, event core.Event) {
	event.ID = eventID(job, event.At)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting >= maxWaiting {
		w.lost = w.lost || job.State.Ended()
		return
	}
	w.waiting++
	w.inbox = append(w.inbox, posting{job.ID, job.Webhook, event, job.State.Ended()})
	signal(w.news)
}

// eventID is the same for the same end of a job, after a restart too. Within
// a millisecond it rises with what happens to the job.
func eventID(job core.Job, at time.Time) string {
	var id ulid.ULID
	sum := sha256.Sum256([]byte(job.ID))
	order := slices.Index(core.JobStates(), job.State)
	_ = id.SetTime(ulid.Timestamp(at)) // before the year 10889
	_ = id.SetEntropy(append([]byte{byte(len(job.Attempts)), byte(order)}, sum[:8]...))
	return id.String()
}

// webhooksLoop is the state of one run.
type webhooksLoop struct {
	*webhooks
	writes  context.Context  // of Run: what a write ends with
	lines   map[string]*line // by job
	busy    int
	results chan webhookResult
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
	postings []posting
	since    time.Time // of the first attempt at the first posting; zero if there was none
	due      time.Time
	pause    *backoff.ExponentialBackOff
	busy     bool
	warned   bool // an attempt has failed, and the log says so
}

type webhookResult struct {
	job  string
	err  error
	kept bool // the store doesn't know that it is done with
}

// run delivers until ctx ends. What waits then is lost, but for ends. writes
// is as [writing] has it.
func (w *webhooks) run(ctx, writes context.Context) {
	l := webhooksLoop{
		webhooks: w, writes: writes, lines: map[string]*line{}, alarm: time.NewTimer(0),
		results: make(chan webhookResult), ends: make(chan untold),
	}
	defer l.alarm.Stop()
	l.lost = true // perhaps, by whoever ran before
	for ctx.Err() == nil {
		l.take()
		l.refill(ctx)
		l.start(ctx)
		select {
		case <-w.news:
		case <-l.alarm.C:
		case r := <-l.results:
			l.settle(ctx, r)
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

func (l *webhooksLoop) take() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, p := range inbox {
		l.add(p)
	}
}

func (l *webhooksLoop) add(p posting) {
	at := l.lines[p.job]
	if at == nil {
		at = &line{pause: backoff.NewExponentialBackOff()}
		at.pause.InitialInterval, at.pause.MaxInterval = leastPause, mostPause
		l.lines[p.job] = at
	}
	at.postings = append(at.postings, p)
}

// refill reads which ends are untold, if there may be some that don't wait,
// and there is room.
func (l *webhooksLoop) refill(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lost || l.reading || l.waiting > maxWaiting/2 || time.Now().Before(l.rest) {
		return
	}
	l.lost, l.reading, l.over = false, true, map[string]bool{}
	go func() {
		ended, err := l.store.Untold(ctx, maxWaiting)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("it can't be read which webhooks have yet to be told", "error", err)
		}
		l.ends <- untold{ended, err}
	}()
}

// restore adds the ends that don't wait already. It reads on later if there
// may be more.
func (l *webhooksLoop) restore(found untold) {
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
	if found.err != nil || len(found.ended) == maxWaiting {
		l.mu.Lock()
		l.lost = true
		l.mu.Unlock()
	}
}

// ends reports whether the end of the job waits in the line, which may be nil.
func (at *line) ends() bool {
	return at != nil && slices.ContainsFunc(at.postings, func(p posting) bool { return p.ended })
}

// start begins the deliveries that are due, and sets the alarm for the next.
func (l *webhooksLoop) start(ctx context.Context) {
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
			go l.deliver(ctx, at.postings[0], now.Sub(at.since) >= webhookPatience)
		}
	}
	if l.alarm.Stop(); !next.IsZero() {
		l.alarm.Reset(time.Until(next))
	}
}

// deliver makes an attempt, and the last one if so. Its result is nil if the
// posting is done with.
func (l *webhooksLoop) deliver(ctx context.Context, p posting, last bool) {
	attempt, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	err := l.post(attempt, p.url, p.event)
	if err != nil && ctx.Err() == nil && (last || errors.Is(err, core.ErrUndeliverable)) {
		l.log.Warn("a job's webhook is given up", "job", p.job, "event", p.event.Type, "error", err)
		err = nil
	}
	result := webhookResult{job: p.job, err: err}
	if err == nil && p.ended {
		write, cancel := writing(l.writes)
		defer cancel()
		if err := l.store.Told(write, p.job); err != nil && !errors.Is(err, core.ErrNoJob) {
			l.log.Warn("a job's webhook may be told its end again", "job", p.job, "error", err)
			result.kept = true
		}
	}
	l.results <- result
}

func (l *webhooksLoop) settle(ctx context.Context, r webhookResult) {
	l.busy--
	at := l.lines[r.job]
	at.busy = false
	if r.err != nil {
		if ctx.Err() == nil { // else foreman stops
			at.warn(l.log, r.err)
		}
		at.due = time.Now().Add(at.pause.NextBackOff())
		return
	}
	if r.kept {
		l.rest = time.Now().Add(mostPause) // else it would be read, and told, over and over
	}
	if l.reading && at.postings[0].ended {
		l.over[r.job] = true
	}
	at.pause.Reset()
	at.postings, at.since, at.due = at.postings[1:], time.Time{}, time.Time{}
	if len(at.postings) == 0 {
		delete(l.lines, r.job)
	}
	l.mu.Lock()
	l.waiting--
	l.mu.Unlock()
}

// warn says of the line's first attempt that fails that it is made again. The
// webhook's URL may be a secret, but for its host.
func (at *line) warn(log *slog.Logger, err error) {
	if at.warned {
		return
	}
	at.warned = true
	first, host := at.postings[0], ""
	if u, err := url.Parse(first.url); err == nil {
		host = u.Host
	}
	log.Warn("a job's webhook isn't reached: it is tried again", "job", first.job, "host", host, "for", webhookPatience, "error", err)
}
