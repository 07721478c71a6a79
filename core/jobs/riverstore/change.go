package riverstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

const (
	// batch is how many jobs one transaction changes, lest others wait long.
	batch = 100
	// precision is that of times that are looked up.
	precision = time.Microsecond
)

// conflict says why r isn't changed.
func (r *row) conflict() error {
	return fmt.Errorf("job %s is %s: %w", r.job.ID, r.job.State, core.ErrJobConflict)
}

// ownedBy returns a conflict unless node has claimed r.
func (r *row) ownedBy(node string) error {
	if !r.claimed() || r.node != node {
		return r.conflict()
	}
	return nil
}

// end makes r a job that has ended.
func (r *row) end(state core.JobState, reason string, now time.Time) {
	now = now.UTC()
	r.job.State, r.job.Error, r.job.EndedAt, r.job.NotBefore = state, reason, &now, nil
	r.node, r.cancel, r.untold = "", false, r.job.Webhook != ""
}

// endAttempt notes how the attempt ended, nil if there was none.
func (r *row) endAttempt(attempt *core.Attempt) {
	if attempt == nil || !attempt.Counts {
		r.job.Attempt--
	}
	if attempt == nil {
		return
	}
	a := *attempt
	a.At, a.EndedAt = a.At.UTC(), a.EndedAt.UTC()
	r.job.Attempts = append(r.job.Attempts, a)
	if more := len(r.job.Attempts) - jobs.MostAttempts; more > 0 {
		r.job.Attempts = r.job.Attempts[more:]
	}
}

// putBack ends the attempt, and r waits again; unless somebody wants it
// cancelled.
func (r *row) putBack(attempt core.Attempt, notBefore time.Time) {
	r.endAttempt(&attempt)
	if r.cancel {
		r.end(core.JobCancelled, "", attempt.EndedAt)
		return
	}
	r.job.State, r.job.Error, r.node = core.JobQueued, attempt.Error, ""
	if notBefore.After(attempt.EndedAt) {
		notBefore = notBefore.UTC().Truncate(precision)
		r.job.NotBefore = &notBefore
	}
}

// Claim makes node the owner of a job whose turn it is.
func (s *Store) Claim(ctx context.Context, id, node string, now time.Time) (core.Job, []byte, error) {
	var payload []byte
	job, err := s.changeJob(ctx, id, func(tx *txn, r *row) error {
		if !r.due(now) || r.expired(now) {
			return r.conflict()
		}
		r.node = node
		r.job.State, r.job.NotBefore, r.job.StartedAt = core.JobLoading, nil, inUTC(&now)
		r.job.Attempt++
		return tx.QueryRowContext(ctx, `SELECT body FROM foreman_payload WHERE id = $1`, id).Scan(&payload)
	})
	return job, notNull(payload), err
}

// Working notes that the target has begun to answer.
func (s *Store) Working(ctx context.Context, id, node string) error {
	_, err := s.changeJob(ctx, id, func(_ *txn, r *row) error {
		if err := r.ownedBy(node); err != nil {
			return err
		}
		r.job.State = core.JobWorking
		return nil
	})
	return err
}

// PutBack ends the attempt of a job, which waits again.
func (s *Store) PutBack(ctx context.Context, id, node string, attempt core.Attempt, notBefore time.Time) (core.Job, error) {
	return s.changeJob(ctx, id, func(_ *txn, r *row) error {
		if err := r.ownedBy(node); err != nil {
			return err
		}
		r.putBack(attempt, notBefore)
		return nil
	})
}

// Finish ends a job, and stores its result.
func (s *Store) Finish(ctx context.Context, id, node string, state core.JobState, reason string, attempt *core.Attempt, result *core.JobResult) error {
	if !state.Ended() {
		return fmt.Errorf("finish job %s: %s is no end", id, state)
	}
	_, err := s.changeJob(ctx, id, func(tx *txn, r *row) error {
		if err := r.ownedBy(node); err != nil {
			return err
		}
		r.endAttempt(attempt)
		ended := time.Now()
		if attempt != nil {
			ended = attempt.EndedAt
		}
		r.end(state, reason, ended)
		if result == nil {
			return nil
		}
		r.job.Status = result.Status
		_, err := tx.ExecContext(ctx, `INSERT INTO foreman_result (id, status, content_type, body) VALUES ($1, $2, $3, $4)`,
			id, result.Status, result.ContentType, notNull(result.Body))
		return err
	})
	return err
}

// Cancel ends a job that waits, or has its node end it.
func (s *Store) Cancel(ctx context.Context, id string, now time.Time) (core.Job, error) {
	return s.changeJob(ctx, id, func(_ *txn, r *row) error {
		switch {
		case r.claimed():
			r.cancel = true
		case r.job.State == core.JobQueued:
			r.end(core.JobCancelled, "", now)
		default:
			return r.conflict()
		}
		return nil
	})
}

// Fail ends a job that waits.
func (s *Store) Fail(ctx context.Context, id, reason string, now time.Time) error {
	_, err := s.changeJob(ctx, id, func(_ *txn, r *row) error {
		if r.job.State != core.JobQueued {
			return r.conflict()
		}
		r.end(core.JobFailed, reason, now)
		return nil
	})
	return err
}

// Retry makes a job that hasn't succeeded wait again.
func (s *Store) Retry(ctx context.Context, id string, now time.Time) (core.Job, error) {
	return s.changeJob(ctx, id, func(tx *txn, r *row) error {
		if r.job.State != core.JobFailed && r.job.State != core.JobCancelled {
			return r.conflict()
		}
		r.job.State, r.job.Attempt, r.job.Error, r.job.Status = core.JobQueued, 0, "", 0
		r.job.StartedAt, r.job.EndedAt, r.untold = nil, nil, false
		if r.expired(now) {
			r.job.ExpiresAt = nil
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM foreman_result WHERE id = $1`, id)
		return err
	})
}

// Told says that the end of a job has been told, or can't be.
func (s *Store) Told(ctx context.Context, id string) error {
	return s.change(ctx, func(tx *txn) error {
		done, err := tx.ExecContext(ctx, `UPDATE foreman_job SET untold = 0 WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); n > 0 || err != nil {
			return err
		}
		return noJob(id)
	})
}

// Recover makes the jobs of a node that crashed wait again.
func (s *Store) Recover(ctx context.Context, node string, now time.Time) (int, error) {
	owned, err := s.ids(ctx, ownedQuery, node)
	if err != nil {
		return 0, err
	}
	for n, id := range owned {
		_, err := s.changeJob(ctx, id, func(_ *txn, r *row) error {
			if err := r.ownedBy(node); err != nil {
				return err
			}
			r.putBack(core.Attempt{
				At: *r.job.StartedAt, EndedAt: now, Reason: core.ReasonUnknown, Error: "foreman ended before the target had answered",
			}, now)
			return nil
		})
		if err != nil {
			return n, err
		}
	}
	return len(owned), nil
}

// Forget removes jobs that ended before then.
func (s *Store) Forget(ctx context.Context, before time.Time) (forgotten int, err error) {
	for {
		old, err := s.ids(ctx, oldQuery, before.UnixMicro(), batch)
		if err != nil || len(old) == 0 {
			return forgotten, err
		}
		n := 0
		err = s.change(ctx, func(tx *txn) error {
			more := map[core.JobState]int{}
			for _, id := range old {
				state, err := tx.forget(ctx, id, before, s.dialect.lock)
				if err != nil {
					return err
				}
				if state != "" {
					more[state]--
					n++
				}
			}
			return tx.count(ctx, more)
		})
		if err != nil {
			return forgotten, err
		}
		forgotten += n
	}
}

// forget removes a job with all that is its, but from the counts, and returns
// the state that it was in; "" if it lives again, or is gone already.
func (tx *txn) forget(ctx context.Context, id string, before time.Time, lock string) (core.JobState, error) {
	r, err := tx.row(ctx, id, lock)
	if errors.Is(err, core.ErrNoJob) {
		return "", nil
	}
	if err != nil || r.job.EndedAt == nil || !r.job.EndedAt.Before(before) {
		return "", err
	}
	for _, table := range []string{"foreman_job", "foreman_payload", "foreman_result"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE id = $1`, id); err != nil {
			return "", err
		}
	}
	return r.job.State, tx.forgetRiver(ctx, r.riverID)
}
