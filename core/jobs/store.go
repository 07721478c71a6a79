package jobs

import (
	"context"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// MostAttempts is how many of its last attempts a job remembers.
const MostAttempts = 100

// A Store keeps jobs through crashes. Several foremen may share one: all that
// changes a job does so in one transaction, and only from the state that it
// names. jobstest checks any implementation.
//
// The store knows three conditions of a job: it waits, it is claimed by one
// node, or it has ended. Payload and result are kept byte for byte. The job
// with the smaller ID is the older one, however often it is put back or
// retried. Models are told apart as [core.NameOf] reads them. The store leaves
// Position to whoever asks Ahead, and keeps the last [MostAttempts] of Attempts.
type Store interface {
	// Insert keeps a new job, which waits, with its payload, and returns once
	// it would survive a crash. A job with the idempotency key of an earlier
	// one of the same caller is that one if path and payload are the same, and
	// known is true; else the error is [core.ErrJobConflict]. That of a store
	// without room is [core.ErrDiskFull].
	Insert(ctx context.Context, job core.Job, payload []byte) (kept core.Job, known bool, err error)

	// Known returns what Insert would of a job that is known by its
	// idempotency key, and keeps nothing: known is false for one that is new.
	Known(ctx context.Context, job core.Job, payload []byte) (kept core.Job, known bool, err error)

	// Get returns a job; its error is core.ErrNoJob.
	Get(ctx context.Context, id string) (core.Job, error)

	// List returns jobs, the newest first, and the cursor of the next page,
	// or "". No payload or result is read for it.
	List(ctx context.Context, query core.JobQuery) (page []core.Job, next string, err error)

	// Result returns what the target answered. A job without a result has
	// [core.ErrJobConflict].
	Result(ctx context.Context, id string) (core.JobResult, error)

	// Heads returns, for each model that has work which waits and is due at
	// now, and for each priority in it, the limit oldest jobs, a model's high
	// ones first; and when the next job that isn't due yet will be, zero if
	// there is none.
	Heads(ctx context.Context, now time.Time, limit int) (heads []core.Job, next time.Time, err error)

	// Claim makes node the owner of a job that waits, is due and hasn't expired
	// at now, with an attempt begun then, and returns it with its payload. If it
	// isn't there to be claimed any more, the error is [core.ErrJobConflict].
	Claim(ctx context.Context, id, node string, now time.Time) (core.Job, []byte, error)

	// Working notes that the target has begun to answer a claimed job.
	Working(ctx context.Context, id, node string) error

	// PutBack ends the attempt of a job that node owns; it waits again, due
	// at notBefore. If somebody wants it cancelled, it ends so instead. It
	// returns the job as it is then.
	PutBack(ctx context.Context, id, node string, attempt core.Attempt, notBefore time.Time) (core.Job, error)

	// Finish ends a job that node owns, and the attempt; nil if the target
	// never had it. It stores result if that isn't nil. A job that node
	// doesn't own any more has [core.ErrJobConflict], and nothing is stored: a result is
	// stored once.
	Finish(ctx context.Context, id, node string, state core.JobState, reason string, attempt *core.Attempt, result *core.JobResult) error

	// Cancel ends a job that waits at once. Of one that is claimed it notes
	// that its node shall, and returns it as it is: Cancelled tells that node.
	Cancel(ctx context.Context, id string, now time.Time) (core.Job, error)

	// Fail ends a job that waits, with a reason.
	Fail(ctx context.Context, id, reason string, now time.Time) error

	// Expired returns at most limit jobs that wait beyond their ExpiresAt.
	Expired(ctx context.Context, now time.Time, limit int) ([]core.Job, error)

	// Retry makes a job that has failed or was cancelled wait again, with its
	// attempts counted anew, and without a result or an expiry that has passed.
	Retry(ctx context.Context, id string, now time.Time) (core.Job, error)

	// Cancelled returns those jobs of node that somebody wants cancelled.
	Cancelled(ctx context.Context, node string) ([]string, error)

	// Untold returns at most limit jobs with a webhook that have ended, the
	// first to end first, and of which Told hasn't said since that their end
	// has been told, or can't be.
	Untold(ctx context.Context, limit int) ([]core.Job, error)
	Told(ctx context.Context, id string) error

	// Recover makes the jobs that node owned before a crash wait again, or
	// ends them if somebody wants them cancelled, and returns how many there
	// were. Their attempts don't count.
	Recover(ctx context.Context, node string, now time.Time) (int, error)

	// Counts returns how many jobs are in each state, states without any
	// included. Ahead returns how many that are due wait ahead of a job: those
	// of its model with a higher priority, and the older ones with its own.
	Counts(ctx context.Context) (map[core.JobState]int, error)
	Ahead(ctx context.Context, job core.Job) (int, error)

	// Forget removes what ended before then, and returns how many.
	Forget(ctx context.Context, before time.Time) (int, error)

	// Changed receives, folded into one, when another node may have changed
	// something; nil in a store that has one node only.
	Changed() <-chan struct{}

	Close() error
}
