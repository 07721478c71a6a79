package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// lookAhead is how many heads there are beyond those that may run at once:
	// when a job ends the next is there, so that a model with work never looks
	// as if it had none while the store is read.
	lookAhead = 2
	// refreshEvery bounds how late it is seen what nobody says.
	refreshEvery = 5 * time.Second
	expiredLimit = 100 // at a time
	houseEvery   = time.Minute
)

// Run does the jobs until ctx ends. Those that run then are put back, as soon
// as the target lets go of them.
func (j *Jobs) Run(ctx context.Context) error {
	writes, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var beside sync.WaitGroup
	defer beside.Wait()
	if !j.recover(ctx) {
		return nil
	}
	beside.Go(func() { j.housekeep(ctx) })
	if j.webhooks != nil {
		beside.Go(func() { j.webhooks.run(ctx, writes) })
	}
	l := newLoop(j, writes)
	defer l.alarm.Stop()
	j.watch.begin()
	for {
		j.watch.glances()
		l.refresh(ctx)
		select {
		case <-j.wake:
			l.dirty = true
		case <-j.deps.Store.Changed():
			l.dirty = true
			j.topics.allChanged()
		case <-l.superseded:
			l.look()
		case <-l.alarm.C:
			l.dirty = true
		case <-l.claims:
			l.dirty, l.problem = true, ""
		case view := <-l.views:
			l.adopt(ctx, view)
		case over := <-l.ends:
			l.settled(over)
		case <-ctx.Done():
			time.AfterFunc(stopTimeout, cut)
			l.stop()
			return nil
		}
	}
}

// recover makes the jobs wait again that ran when foreman was killed. It
// reports false if ctx ended first.
func (j *Jobs) recover(ctx context.Context) bool {
	again := backoff.NewExponentialBackOff()
	again.InitialInterval, again.MaxInterval = leastPause, mostPause
	for {
		n, err := j.deps.Store.Recover(ctx, j.deps.Node, time.Now())
		if j.wrote(ctx, err) == nil {
			if n > 0 {
				j.log.Info("jobs that ran when foreman ended begin anew", "jobs", n)
			}
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		j.log.Error("the job store can't be read: no job runs until it can", "error", err)
		select {
		case <-time.After(again.NextBackOff()):
		case <-ctx.Done():
			return false
		}
	}
}

// loop is the state of one Run.
type loop struct {
	*Jobs
	breaker  breaker
	stopping chan struct{}   // closed when Run is to end
	writes   context.Context // which a write's is from; as a field since a worker's own ends too soon

	workers map[string]*worker // by job
	claims  chan string        // jobs that have become this node's
	ends    chan end           // from each worker, once

	dirty   bool            // what is known of the store may be wrong
	reading bool            // a look at the store is under way
	over    map[string]bool // jobs whose worker ended since that look began
	views   chan view       // from the one look
	rest    time.Time       // no look before
	problem string          // what kept jobs from running since the last claim
	alarm   *time.Timer

	snapshot   *core.Snapshot
	superseded <-chan struct{}
}

func newLoop(j *Jobs, writes context.Context) *loop {
	l := &loop{
		Jobs: j, stopping: make(chan struct{}), writes: writes, workers: map[string]*worker{},
		claims: make(chan string), ends: make(chan end), views: make(chan view),
		dirty: true, alarm: time.NewTimer(refreshEvery),
	}
	l.snapshot, l.superseded = j.deps.Target()
	return l
}

// ready reports whether jobs may go to the target; if not, and nobody looks,
// they may try at a time, which is zero if they mustn't.
func (l *loop) ready() (ok bool, at time.Time) {
	select {
	case <-l.stopping:
		return false, time.Time{}
	default:
	}
	snapshot, _ := l.deps.Target()
	if snapshot.Status != core.Healthy {
		return false, time.Time{}
	}
	return l.breaker.allows(snapshot)
}

// look takes over what is believed of the target.
func (l *loop) look() {
	l.snapshot, l.superseded = l.deps.Target()
	for _, w := range l.workers {
		if !w.unlisted.Load() && !installed(l.snapshot, w.job.Model) {
			w.leave() // the next one to bring it looks more closely
		}
	}
	l.dirty = true
}

// adopt makes the heads of view the ones that wait for a turn.
func (l *loop) adopt(ctx context.Context, v view) {
	l.reading = false
	over := l.over
	l.over = nil
	l.looked(v.err)
	if v.err != nil {
		l.trouble(v.err)
		return
	}
	for _, id := range v.cancelled {
		if w := l.workers[id]; w != nil {
			w.cancel(errCancelled)
		}
	}
	retry := l.line(ctx, v, over)
	l.dirty = l.dirty || v.more
	next := time.Now().Add(refreshEvery)
	for _, at := range []time.Time{v.next, v.expires, retry, l.rest} {
		if at.After(time.Now()) && at.Before(next) {
			next = at
		}
	}
	l.alarm.Reset(time.Until(next))
}

// line has the heads of v wait for a turn, and no others, but for those whose
// worker ended while they were read. If none may go to the target yet it
// returns when they may try, as ready does.
func (l *loop) line(ctx context.Context, v view, over map[string]bool) (retry time.Time) {
	ready, retry := l.ready()
	now := newHeads(v.limit)
	for _, job := range v.heads {
		if over[job.ID] || l.held(job.ID) {
			continue
		}
		now.add(job)
		if ready && l.workers[job.ID] == nil {
			l.start(ctx, job)
		}
	}
	for id, w := range l.workers {
		if !ready || !now.has(id) {
			w.leave()
		}
	}
	l.heads.Store(now)
	return retry
}

// trouble holds the loop back from a store or a scheduler that doesn't work.
func (l *loop) trouble(err error) {
	if err.Error() != l.problem && !errors.Is(err, context.Canceled) { // else foreman stops
		l.problem = err.Error()
		l.log.Error("jobs can't run: it is tried again", "error", err)
	}
	l.rest = time.Now().Add(leastPause)
	l.dirty = true
	l.alarm.Reset(leastPause)
}

// start gives a head its worker, whose context doesn't end with Run's: stop
// ends it, with the cause.
func (l *loop) start(ctx context.Context, job core.Job) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	queue, leave := context.WithCancel(ctx)
	w := &worker{job: job, leave: leave, cancel: cancel}
	l.workers[job.ID] = w
	go func() {
		defer cancel(nil)
		l.ends <- l.work(ctx, queue, w)
	}()
}

// settled forgets a worker that has ended.
func (l *loop) settled(over end) {
	delete(l.workers, over.id)
	if l.reading {
		l.over[over.id] = true
	}
	l.dirty = true
	if over.err != nil {
		l.trouble(over.err)
	}
}

// stop ends the workers, and waits for them.
func (l *loop) stop() {
	close(l.stopping)
	for _, w := range l.workers {
		w.cancel(errStopped)
	}
	for len(l.workers) > 0 || l.reading {
		select {
		case over := <-l.ends:
			delete(l.workers, over.id)
		case <-l.claims:
		case <-l.views:
			l.reading = false
		}
	}
}

// A view is what the store said.
type view struct {
	limit     int
	heads     []core.Job
	next      time.Time // when the next job will be due; zero if none will
	expires   time.Time // when the first of the heads does; zero if none will
	cancelled []string
	more      bool // jobs may have expired
	err       error
}

// refresh looks at the store, if there is a reason and no look is under way.
func (l *loop) refresh(ctx context.Context) {
	if !l.dirty || l.reading || time.Now().Before(l.rest) {
		return
	}
	l.dirty, l.reading = false, true
	l.over = map[string]bool{}
	opts, snapshot := l.opts.Load(), l.snapshot
	go func() {
		v, err := l.read(ctx, opts, snapshot)
		v.err = err
		l.views <- v
	}()
}

// read does what is due to jobs that nobody claims, and reads the rest.
func (l *loop) read(ctx context.Context, opts *Options, snapshot *core.Snapshot) (view, error) {
	v := view{limit: opts.Parallel + lookAhead}
	now := time.Now()
	expired, err := l.deps.Store.Expired(ctx, now, expiredLimit)
	if err != nil {
		return v, fmt.Errorf("look for expired jobs: %w", err)
	}
	for _, job := range expired {
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		if l.fail(job.ID, "the job expired before its turn came") {
			v.more = len(expired) == expiredLimit
		}
	}
	if v.cancelled, err = l.deps.Store.Cancelled(ctx, l.deps.Node); err != nil {
		return v, fmt.Errorf("look for cancelled jobs: %w", err)
	}
	if v.heads, v.next, err = l.deps.Store.Heads(ctx, now, v.limit); err != nil {
		return v, fmt.Errorf("look for jobs that are due: %w", err)
	}
	v.heads = slices.DeleteFunc(v.heads, func(job core.Job) bool { // it couldn't be failed yet
		return job.ExpiresAt != nil && !job.ExpiresAt.After(now)
	})
	for _, job := range v.heads {
		if at := job.ExpiresAt; at != nil && (v.expires.IsZero() || at.Before(v.expires)) {
			v.expires = *at
		}
	}
	if snapshot.Status == core.Degraded {
		l.outwait(ctx, opts, snapshot, v.heads)
	}
	return v, nil
}

// housekeep counts the jobs that wait, and forgets those that ended long ago.
func (j *Jobs) housekeep(ctx context.Context) {
	tick := time.NewTicker(houseEvery)
	defer tick.Stop()
	for {
		j.watch.forget(time.Now().Add(-j.opts.Load().MaxAge))
		counts, err := j.deps.Store.Counts(ctx)
		if err == nil {
			j.queued.Store(int64(counts[core.JobQueued]))
			_, err = j.deps.Store.Forget(ctx, time.Now().Add(-j.opts.Load().TTL))
		}
		if err != nil && ctx.Err() == nil {
			j.log.Warn("jobs that ended long ago can't be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
