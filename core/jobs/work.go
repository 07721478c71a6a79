package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// storeTimeout bounds a write that mustn't be cut off with its job.
	storeTimeout = 10 * time.Second
	// stopTimeout is how long it may go on once foreman stops.
	stopTimeout = 800 * time.Millisecond
	// probeTimeout bounds a sign of life, for which the turn is kept.
	probeTimeout = 4 * time.Second
)

// Causes of the end of a job's context.
var (
	errCancelled = errors.New("cancelled")
	errStopped   = errors.New("foreman stopped")
	errLost      = errors.New("another foreman has taken the job")
	errOverran   = errors.New("the attempt took as long as one may")
)

// A worker brings one head through its turn.
type worker struct {
	job    core.Job
	leave  context.CancelFunc // the queue, if it still waits
	cancel func(cause error)  // whatever it does

	unlisted atomic.Bool // the target may have the model though the snapshot lacks it
}

// end is a worker's last message.
type end struct {
	id  string
	err error // the store or the scheduler doesn't work
}

// work waits for the job's turn and has it done. ctx ends with a cause, which
// queue inherits; queue alone ends when the job is to leave the queue.
func (l *loop) work(ctx, queue context.Context, w *worker) end {
	over := end{id: w.job.ID}
	if !l.vet(queue, w) {
		return over
	}
	turn, err := l.deps.Acquire(queue, Ticket{
		ID: w.job.ID, Name: w.job.Model,
		Caller: w.job.Caller, Priority: w.job.Priority, Arrived: w.job.CreatedAt,
	})
	if err != nil {
		if queue.Err() == nil {
			over.err = fmt.Errorf("wait for a turn: %w", err)
		}
		return over
	}
	defer turn.Done()
	if ready, _ := l.ready(); !ready || queue.Err() != nil {
		return over
	}
	job, payload, err := l.claim(w.job.ID)
	if err != nil {
		if !errors.Is(err, core.ErrJobConflict) {
			over.err = fmt.Errorf("claim a job: %w", err)
		}
		return over
	}
	l.claims <- job.ID
	l.queued.Add(-1)
	l.tell(job)
	v := l.attempt(ctx, w, job, core.Work{
		Path: job.Path, Body: payload, Pin: turn.More(),
	})
	if v.away {
		l.breaker.trip()
	}
	if v.faulty {
		turn.Failed()
	} else {
		turn.Done() // what follows needs no target
	}
	l.conclude(job.ID, v)
	return over
}

// vet reports whether the job's model may be asked for. If it is missing the
// job fails.
func (l *loop) vet(queue context.Context, w *worker) bool {
	snapshot, _ := l.deps.Target()
	if installed(snapshot, w.job.Model) {
		return true
	}
	err := l.deps.Find(queue, w.job.Model)
	switch {
	case err == nil:
		w.unlisted.Store(true)
		return true
	case errors.Is(err, core.ErrNotInstalled):
		l.fail(w.job.ID, err.Error())
	default: // nobody can tell
		select {
		case <-time.After(leastPause):
		case <-queue.Done():
		}
	}
	return false
}

func installed(snapshot *core.Snapshot, model string) bool {
	for _, name := range core.Meanings(model) {
		if _, ok := snapshot.Inventory.Find(name); ok {
			return true
		}
	}
	return false
}

// fail ends a job that waits, unless it doesn't any more. It reports whether
// the store could tell.
func (l *loop) fail(id, reason string) bool {
	ctx, cancel := writing(l.writes)
	defer cancel()
	err := l.wrote(ctx, l.deps.Store.Fail(ctx, id, reason, time.Now()))
	if err == nil {
		l.queued.Add(-1)
		l.log.Info("a job has failed", "job", id, "error", reason)
		l.tellOf(ctx, id)
	} else if !errors.Is(err, core.ErrJobConflict) && !errors.Is(err, core.ErrNoJob) {
		l.log.Warn("a job that should fail can't", "job", id, "reason", reason, "error", err)
		return false
	}
	return true
}

// writing is a context for one write to the store. It doesn't end with the job
// or the delivery that the write is for, but soon after Run's ctx: writes does,
// which is Run's and the same for all.
func writing(writes context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(writes, storeTimeout)
}

// claim makes the job this node's. If it can't be told whether it is, it is
// put back.
func (l *loop) claim(id string) (core.Job, []byte, error) {
	ctx, cancel := writing(l.writes)
	defer cancel()
	now := time.Now()
	job, payload, err := l.deps.Store.Claim(ctx, id, l.deps.Node, now)
	err = l.wrote(ctx, err)
	if err != nil && !errors.Is(err, core.ErrJobConflict) {
		again, cancel := writing(l.writes)
		defer cancel()
		attempt := core.Attempt{At: now.UTC(), EndedAt: now.UTC(), Reason: reasonStopped}
		if back, err := l.deps.Store.PutBack(again, id, l.deps.Node, attempt, now); err == nil && back.State.Ended() {
			l.queued.Add(-1)
			l.tell(back)
		}
	}
	return job, payload, err
}

// attempt has the target do the job once.
func (l *loop) attempt(ctx context.Context, w *worker, job core.Job, work core.Work) verdict {
	topic := l.topics.follow(job.ID)
	defer l.topics.leave(job.ID)
	topic.begin()
	maxRun := l.opts.Load().MaxRun
	run, end := context.WithTimeoutCause(ctx, maxRun, errOverran)
	defer end()
	o := outcome{began: time.Now()}
	o.err = l.deps.Do(run, work, sink{topic, func() { l.working(job.ID, w) }})
	o.now = time.Now()
	o.slept = o.now.Round(0).Sub(o.began.Round(0)) - o.now.Sub(o.began)
	o.answer, o.full = topic.answered()
	if o.err == nil && o.answer.Status == 0 {
		o.err = errors.New("the target gave no answer")
	}
	if cause := context.Cause(run); cause != nil && o.err != nil {
		return interrupted(o, cause, maxRun)
	}
	if o.doubtful() {
		o.lives = l.lives(ctx)
	}
	if o.answer.Status == http.StatusNotFound && o.err == nil {
		o.missed = l.deps.Find(ctx, job.Model)
		o.found = o.missed == nil
	}
	if cause := context.Cause(ctx); cause != nil && (o.err != nil || o.missed != nil) { // nobody could be asked
		return interrupted(o, cause, maxRun)
	}
	snapshot, _ := l.deps.Target()
	o.earliest = l.watch.earliest(job, snapshot)
	return judge(job, l.opts.Load(), o)
}

// lives reports whether the target gives a sign of life.
func (l *loop) lives(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return l.deps.Probe(ctx) == nil
}

// working notes that the target has begun to answer.
func (l *loop) working(id string, w *worker) {
	l.breaker.reset()
	ctx, cancel := writing(l.writes)
	defer cancel()
	switch err := l.deps.Store.Working(ctx, id, l.deps.Node); {
	case err == nil:
		l.tellOf(ctx, id)
	case errors.Is(err, core.ErrJobConflict):
		w.cancel(errLost)
	default:
		l.log.Warn("it can't be kept that the target works on a job", "job", id, "error", err)
	}
}

// interrupted is for an attempt that foreman cut off.
func interrupted(o outcome, cause error, maxRun time.Duration) verdict {
	switch {
	case errors.Is(cause, errOverran):
		v := o.failed(reasonOverran, fmt.Sprintf("the attempt took longer than jobs.max_run allows, %s", maxRun), nil)
		v.faulty = true // a load that was cut off leaves no model in memory
		return v
	case errors.Is(cause, errCancelled):
		return verdict{attempt: o.attempt(reasonCancelled, "", false), state: core.JobCancelled}
	case errors.Is(cause, errStopped):
		return verdict{attempt: o.attempt(reasonStopped, cause.Error(), false), state: core.JobQueued, notBefore: o.now}
	default:
		return verdict{}
	}
}

// conclude stores the verdict, however often the store fails, and tells. While
// foreman stops it tries once: what is then still claimed begins anew at the
// next start.
func (l *loop) conclude(id string, v verdict) {
	if v.state == "" {
		return
	}
	again := backoff.NewExponentialBackOff()
	again.InitialInterval, again.MaxInterval = leastPause, mostPause
	for {
		err := l.settle(id, v)
		if err == nil || errors.Is(err, core.ErrJobConflict) || errors.Is(err, core.ErrNoJob) {
			return
		}
		l.log.Warn("the end of a job can't be kept: it is tried again", "job", id, "error", err)
		select {
		case <-time.After(again.NextBackOff()):
		case <-l.stopping:
			return
		}
	}
}

func (l *loop) settle(id string, v verdict) error {
	ctx, cancel := writing(l.writes)
	defer cancel()
	state := v.state
	if state == core.JobQueued {
		job, err := l.deps.Store.PutBack(ctx, id, l.deps.Node, v.attempt, v.notBefore)
		if l.wrote(ctx, err) != nil {
			return err
		}
		if state = job.State; state == core.JobQueued {
			l.queued.Add(1)
		}
	} else if err := l.deps.Store.Finish(ctx, id, l.deps.Node, state, v.reason, &v.attempt, v.result); l.wrote(ctx, err) != nil {
		return err
	}
	l.log.Info("a job's attempt has ended", "job", id, "state", state, "error", v.attempt.Error)
	l.tellOf(ctx, id)
	return nil
}
