package jobs

import (
	"context"
	"iter"
	"reflect"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// followEvery is how often a follower looks at a job of which nobody here says
// anything: its place in the queue moves, and another node may run it.
const followEvery = 5 * time.Second

// Follow returns what the job is now, and then each change and the answer as
// it comes, until the job has ended; the last news is the ended job. An
// answer that is under way is told from its beginning. Whoever reads slowly
// gets larger chunks, and perhaps not each state, but misses no byte of an
// answer that became the result. An answer that comes to another node, and
// that of a job that has ended before, isn't told. The error is the last pair:
// [core.ErrNoJob], ctx's or the store's.
func (j *Jobs) Follow(ctx context.Context, id string) iter.Seq2[core.JobNews, error] {
	return func(yield func(core.JobNews, error) bool) {
		f := follower{Jobs: j, topic: j.topics.follow(id), yield: yield, id: id}
		defer j.topics.leave(id)
		if err := f.run(ctx); err != nil {
			yield(core.JobNews{}, err)
		}
	}
}

type follower struct {
	*Jobs
	topic *topic
	yield func(core.JobNews, error) bool
	id    string

	job     core.Job // as it was last told
	changes int      // of the topic, that job includes
	attempt int      // of the topic, that offset is in
	offset  int
}

// run returns nil once the reader has all, or wants no more. A piece of the
// answer is told after the states that came before it.
func (f *follower) run(ctx context.Context) error {
	f.attempt = f.topic.look(0).attempt
	for again := true; ; {
		now := f.topic.look(f.offset)
		switch {
		case again || now.changes != f.changes:
			again, f.changes = false, now.changes
			more, err := f.tellState(ctx)
			if err != nil || !more {
				return err
			}
			continue
		case now.attempt != f.attempt || len(now.rest) > 0:
			if !f.tellAnswer(now) {
				return nil
			}
			continue
		}
		select {
		case <-now.news:
		case <-time.After(followEvery):
			again = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tellState tells what the job is now, if that is another than before, and
// reports whether there is more to come.
func (f *follower) tellState(ctx context.Context) (more bool, err error) {
	job, err := f.Get(ctx, f.id)
	if err != nil {
		return false, err
	}
	runs := job.State == core.JobLoading || job.State == core.JobWorking
	if !runs && f.job.ID != "" && !f.tellAnswer(f.topic.look(f.offset)) { // all of it is there by now
		return false, nil
	}
	if !reflect.DeepEqual(job, f.job) && !f.yield(core.JobNews{Job: &job}, nil) {
		return false, nil
	}
	f.job = job
	return !job.State.Ended(), nil
}

// tellAnswer tells what now shows of the answer that hasn't been told, and
// reports whether the reader wants more.
func (f *follower) tellAnswer(now glance) bool {
	if now.attempt != f.attempt {
		f.attempt, f.offset = now.attempt, 0
		now = f.topic.look(0)
	}
	if len(now.rest) == 0 {
		return true
	}
	news := core.JobNews{Chunk: now.rest, Offset: int64(f.offset)}
	f.offset += len(now.rest)
	return f.yield(news, nil)
}
