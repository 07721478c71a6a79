// Package jobs owns the durable jobs: it takes them in, gives each to the
// target when its turn comes, and keeps what comes of it.
//
//	Submit ──► store ──► head ──► turn ──► claimed ──► target ──► finished
//	             ▲  heads of each model;     │ put back: away, or an
//	             │  the others stay there    │ error with attempts left
//	             └───────────────────────────┘
//
// The goroutine of [Jobs.Run] owns which jobs are heads. It does no I/O: the
// store is read beside it, and each head has a worker that waits for the turn,
// claims the job, has it done, and says when it is over.
package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
)

// Deps are what the service works with. The functions may be called by
// several goroutines at a time.
type Deps struct {
	Store Store
	Node  string // this foreman, among those that share the store; the same after a restart

	// Acquire waits for a job's turn. It returns soon after ctx ends.
	Acquire func(ctx context.Context, ticket Ticket) (core.Turn, error)

	// Do has work done by the target, in one attempt, and writes the answer to
	// sink as it comes. Its error says that the target couldn't be reached, if
	// sink hasn't begun, and that it broke off otherwise. Do returns soon after
	// ctx ends, and after an error of sink.
	Do func(ctx context.Context, work core.Work, sink core.Sink) error

	// Probe asks the target for a sign of life; nil says that it gave one.
	Probe func(ctx context.Context) error

	// Find looks a model up that the snapshot lacks, and returns nil if it may
	// be asked for. An error that isn't a core.ErrNotInstalled says that nobody can
	// tell. The text of either is for the user.
	Find func(ctx context.Context, model string) error

	// Target is what is believed of the target, and a channel that closes when
	// that changes.
	Target func() (*core.Snapshot, <-chan struct{})

	// Tell gets an event, without an ID, for each state that a job comes to.
	// It doesn't block.
	Tell func(event core.Event)

	// Webhook brings an event to a job's webhook. After an error it is sent
	// again, unless that is a core.ErrUndeliverable. nil: there are no webhooks.
	Webhook func(ctx context.Context, url string, event core.Event) error
	Private bool // webhooks may lead to private networks, and so may be plain http
}

// A Ticket is a job that waits for its turn.
type Ticket struct {
	ID       string
	Name     string // of the model, as the caller wrote it
	Caller   string // of the job
	Priority core.Priority
	Arrived  time.Time
}

// Options are settings that may change.
type Options struct {
	Parallel    int           // turns that one model has at a time
	MaxAttempts int           // of a job, with an error of the target
	MaxRun      time.Duration // of one attempt, the load of the model included; of those that begin after
	MaxAge      time.Duration // how long a job waits for a target that is away
	TTL         time.Duration // how long a job that has ended is kept
	MaxQueued   int           // jobs that wait; other nodes' count a minute late
}

// Jobs is the service.
type Jobs struct {
	deps     Deps
	log      *slog.Logger
	opts     atomic.Pointer[Options] // written by New and Set
	wake     chan struct{}           // of capacity 1: what waits may be another
	queued   atomic.Int64            // jobs that wait, counted anew now and then
	heads    atomic.Pointer[heads]   // written by Run
	topics   topics
	webhooks *webhooks // nil if there are no webhooks
	watch    watch
	faults   faults

	mu       sync.Mutex
	unspoken map[string]bool // jobs whose job_queued event hasn't been told yet
}

// New returns a service that takes jobs at once, and runs them in Run.
func New(deps Deps, opts Options, log *slog.Logger) *Jobs {
	j := &Jobs{
		deps: deps, log: log, wake: make(chan struct{}, 1),
		topics: topics{byID: map[string]*topic{}}, unspoken: map[string]bool{},
		watch: watch{retried: map[string]time.Time{}},
	}
	if deps.Webhook != nil {
		j.webhooks = newWebhooks(j)
	}
	j.heads.Store(newHeads(1))
	j.Set(opts)
	return j
}

// Set changes the options. What runs goes on.
func (j *Jobs) Set(opts Options) {
	j.opts.Store(&opts)
	signal(j.wake)
}

// Submit keeps a job; it would survive a crash from then on. known says that
// the job is there already, under the same idempotency key. Errors are
// [core.ErrJobsFull], [core.ErrNoWebhooks], [core.ErrPlainWebhook],
// [core.ErrJobConflict] for a key that comes with another request, and the
// store's, such as [core.ErrDiskFull].
func (j *Jobs) Submit(ctx context.Context, r core.JobRequest) (job core.Job, known bool, err error) {
	if err := j.vetWebhook(r.Webhook); err != nil {
		return core.Job{}, false, err
	}
	if j.queued.Load() >= int64(j.opts.Load().MaxQueued) {
		return core.Job{}, false, core.ErrJobsFull
	}
	id := ulid.Make()
	job = core.Job{
		ID: id.String(), State: core.JobQueued, Model: r.Model, Path: r.Path, Priority: r.Priority, Caller: r.Caller,
		CreatedAt: ulid.Time(id.Time()).UTC(), ExpiresAt: r.ExpiresAt, Attempts: []core.Attempt{},
		Webhook: r.Webhook, IdempotencyKey: r.IdempotencyKey,
	}
	defer j.spoken(j.hold(job.ID), job)
	job, known, err = j.deps.Store.Insert(ctx, job, r.Body)
	if j.inserted(ctx, err) != nil {
		return core.Job{}, false, fmt.Errorf("keep the job: %w", err)
	}
	if !known {
		j.queued.Add(1)
		j.tell(job)
	}
	return j.placed(ctx, job), known, nil
}

// vetWebhook returns why nothing would ever be sent to address, or nil if that
// can't be told yet, or is "".
func (j *Jobs) vetWebhook(address string) error {
	if address == "" {
		return nil
	}
	if j.webhooks == nil {
		return core.ErrNoWebhooks
	}
	if u, err := url.Parse(address); err == nil && u.Scheme == "http" && !j.deps.Private {
		return core.ErrPlainWebhook
	}
	return nil
}

// Known returns the job that Submit would, if that is known already by its
// idempotency key, whether or not another could be kept now. Its error may be
// [core.ErrJobConflict].
func (j *Jobs) Known(ctx context.Context, r core.JobRequest) (job core.Job, known bool, err error) {
	asked := core.Job{Path: r.Path, Caller: r.Caller, IdempotencyKey: r.IdempotencyKey}
	if job, known, err = j.deps.Store.Known(ctx, asked, r.Body); err != nil || !known {
		return core.Job{}, false, err
	}
	return j.placed(ctx, job), true, nil
}

// hold notes that the job's job_queued event hasn't been told yet. Until spoken
// Run leaves the job alone, lest a later event be told before that one.
func (j *Jobs) hold(id string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unspoken[id] = true
	return id
}

// spoken notes that the event has been told, or won't be, and wakes Run if
// there may be too few heads like job.
func (j *Jobs) spoken(id string, job core.Job) {
	j.mu.Lock()
	delete(j.unspoken, id)
	j.mu.Unlock()
	if !j.heads.Load().suffice(job) {
		signal(j.wake)
	}
}

// held reports whether the job's job_queued event hasn't been told yet.
func (j *Jobs) held(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.unspoken[id]
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}
