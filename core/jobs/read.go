package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// cancelWithin is how long Cancel waits for a job that runs.
const cancelWithin = 2 * time.Second

// Get returns a job; its error is [core.ErrNoJob].
func (j *Jobs) Get(ctx context.Context, id string) (core.Job, error) {
	job, err := j.deps.Store.Get(ctx, id)
	return j.placed(ctx, job), err
}

// mostPlaced is how many jobs may wait for a page to say the place of each: to
// count those ahead of one takes as long as there are many.
const mostPlaced = 10_000

// List returns a page of jobs, the newest first, and the cursor of the next.
// Where very many wait it leaves their places out.
func (j *Jobs) List(ctx context.Context, query core.JobQuery) (page []core.Job, next string, err error) {
	page, next, err = j.deps.Store.List(ctx, query)
	if j.queued.Load() > mostPlaced {
		return page, next, err
	}
	for i := range page {
		page[i] = j.placed(ctx, page[i])
	}
	return page, next, err
}

// placed is job with its place in the order of its model. A store that can't
// tell leaves it out.
func (j *Jobs) placed(ctx context.Context, job core.Job) core.Job {
	if job.State != core.JobQueued {
		return job
	}
	if ahead, err := j.deps.Store.Ahead(ctx, job); err == nil {
		position := ahead + 1
		job.Position = &position
	}
	return job
}

// Result returns what the target answered. Errors are [core.ErrNoJob],
// and [core.ErrJobConflict] while there is none.
func (j *Jobs) Result(ctx context.Context, id string) (core.JobResult, error) {
	return j.deps.Store.Result(ctx, id)
}

// Counts returns how many jobs are in each state.
func (j *Jobs) Counts(ctx context.Context) (map[core.JobState]int, error) {
	return j.deps.Store.Counts(ctx)
}

// Cancel ends a job, whether it waits or runs, and returns it as it is then.
// Another node's that runs may do so for some seconds more. Errors are
// [core.ErrNoJob], and [core.ErrJobConflict] if the job has ended.
func (j *Jobs) Cancel(ctx context.Context, id string) (core.Job, error) {
	followed := j.topics.follow(id)
	defer j.topics.leave(id)
	job, err := j.deps.Store.Cancel(ctx, id, time.Now())
	if j.wrote(ctx, err) != nil {
		return core.Job{}, err
	}
	if job.State.Ended() {
		j.queued.Add(-1)
		j.tell(job)
		signal(j.wake)
		return job, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cancelWithin)
	defer cancel()
	signal(j.wake)
	for {
		news := followed.look(0).news
		now, err := j.deps.Store.Get(ctx, id)
		if err == nil {
			job = now
		}
		if err != nil || job.State.Ended() {
			return job, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return job, nil
		}
	}
}

// Retry makes a job wait again that has failed or was cancelled. Errors are
// [core.ErrNoJob] and [core.ErrJobConflict].
func (j *Jobs) Retry(ctx context.Context, id string) (core.Job, error) {
	defer j.spoken(j.hold(id), core.Job{}) // like none: Run is woken
	job, err := j.deps.Store.Retry(ctx, id, time.Now())
	if j.wrote(ctx, err) != nil {
		return core.Job{}, err
	}
	j.watch.retry(id)
	j.queued.Add(1)
	j.tell(job)
	return j.placed(ctx, job), nil
}

// tell says that job is in another state.
func (j *Jobs) tell(job core.Job) {
	event := j.event(job)
	j.deps.Tell(event)
	if j.webhooks != nil && job.Webhook != "" {
		j.webhooks.offer(job, event)
	}
	j.topics.changed(job.ID)
}

// event says in which state job is. It happens now, but for an end, which
// happened when it did.
func (j *Jobs) event(job core.Job) core.Event {
	snapshot, _ := j.deps.Target()
	at := time.Now()
	if job.State.Ended() && job.EndedAt != nil {
		at = *job.EndedAt
	}
	return core.NewJobEvent(job, at, snapshot.URL)
}

// tellOf tells of a job that the store has just changed.
func (j *Jobs) tellOf(ctx context.Context, id string) {
	job, err := j.deps.Store.Get(ctx, id)
	if err == nil {
		j.tell(job)
		return
	}
	if !errors.Is(err, core.ErrNoJob) { // else it has been forgotten
		j.log.Warn("what became of a job can't be told", "job", id, "error", err)
	}
	j.topics.changed(id)
}
