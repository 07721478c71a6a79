package riverstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Get returns a job.
func (s *Store) Get(ctx context.Context, id string) (job core.Job, err error) {
	var encoded []byte
	err = s.read.QueryRowContext(ctx, `SELECT job FROM foreman_job WHERE id = $1`, id).Scan(&encoded)
	if errors.Is(err, sql.ErrNoRows) {
		return job, noJob(id)
	}
	if err != nil {
		return job, s.explain(err)
	}
	err = json.Unmarshal(encoded, &job)
	return job, err
}

func noJob(id string) error { return fmt.Errorf("%s: %w", id, core.ErrNoJob) }

// List returns a page of jobs. The cursor is the ID of its last one.
func (s *Store) List(ctx context.Context, query core.JobQuery) (page []core.Job, next string, err error) {
	query.Limit = max(1, query.Limit)
	statement, args := listQuery(query)
	page, err = s.jobs(ctx, statement, args...)
	if len(page) > query.Limit {
		page = page[:query.Limit]
		next = page[query.Limit-1].ID
	}
	return page, next, err
}

// Result returns what the target answered.
func (s *Store) Result(ctx context.Context, id string) (core.JobResult, error) {
	var r core.JobResult
	err := s.read.QueryRowContext(ctx, `SELECT status, content_type, body FROM foreman_result WHERE id = $1`, id).
		Scan(&r.Status, &r.ContentType, &r.Body)
	if errors.Is(err, sql.ErrNoRows) {
		job, err := s.Get(ctx, id)
		if err != nil {
			return r, err
		}
		return r, fmt.Errorf("job %s is %s and has no result: %w", id, job.State, core.ErrJobConflict)
	}
	r.Body = notNull(r.Body)
	return r, s.explain(err)
}

// Heads returns the first jobs of each model and priority.
func (s *Store) Heads(ctx context.Context, now time.Time, limit int) ([]core.Job, time.Time, error) {
	next, err := s.nextDue(ctx)
	if err == nil && !next.IsZero() && !next.After(now) {
		if err = s.comeDue(ctx, now); err == nil {
			next, err = s.nextDue(ctx)
		}
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	heads, err := s.jobs(ctx, headsQuery, limit)
	return heads, next, err
}

// nextDue is when the next job will be due, zero if none will.
func (s *Store) nextDue(ctx context.Context) (time.Time, error) {
	var next sql.NullInt64
	err := s.read.QueryRowContext(ctx, nextQuery).Scan(&next)
	if err != nil || !next.Valid {
		return time.Time{}, s.explain(err)
	}
	return time.UnixMicro(next.Int64).UTC(), nil
}

// comeDue puts the jobs that are due at now in their lanes.
func (s *Store) comeDue(ctx context.Context, now time.Time) error {
	for {
		due, err := s.ids(ctx, dueQuery, now.UnixMicro(), batch)
		if err != nil || len(due) == 0 {
			return err
		}
		err = s.change(ctx, func(tx *txn) error {
			for _, id := range due {
				r, err := tx.row(ctx, id, s.dialect.lock)
				if errors.Is(err, core.ErrNoJob) {
					continue
				}
				if err != nil {
					return err
				}
				if !r.due(now) {
					continue
				}
				was := *r
				r.job.NotBefore = nil
				if err := tx.update(ctx, &was, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// Expired returns jobs that have waited too long.
func (s *Store) Expired(ctx context.Context, now time.Time, limit int) ([]core.Job, error) {
	return s.jobs(ctx, expiredQuery, now.UnixMicro(), limit)
}

// Cancelled returns the jobs that node shall cancel.
func (s *Store) Cancelled(ctx context.Context, node string) ([]string, error) {
	return s.ids(ctx, cancelledQuery, node)
}

// Counts returns how many jobs are in each state.
func (s *Store) Counts(ctx context.Context) (map[core.JobState]int, error) {
	counts := map[core.JobState]int{}
	for _, state := range core.JobStates() {
		counts[state] = 0
	}
	type count struct {
		state core.JobState
		n     int
	}
	found, err := collect(ctx, s, func(rows *sql.Rows) (c count, err error) {
		err = rows.Scan(&c.state, &c.n)
		return c, err
	}, `SELECT state, n FROM foreman_count`)
	for _, c := range found {
		counts[c.state] = c.n
	}
	return counts, err
}

// Untold returns the jobs whose webhook has yet to hear that they have ended.
func (s *Store) Untold(ctx context.Context, limit int) ([]core.Job, error) {
	return s.jobs(ctx, untoldQuery, limit)
}

// Ahead returns how many jobs wait ahead of one.
func (s *Store) Ahead(ctx context.Context, job core.Job) (n int, err error) {
	model := core.NameOf(job.Model)
	err = s.read.QueryRowContext(ctx, aheadQuery, laneOf(model, core.PriorityHigh), laneOf(model, job.Priority), job.ID).Scan(&n)
	return n, s.explain(err)
}

// jobs returns the jobs that a query finds.
func (s *Store) jobs(ctx context.Context, query string, args ...any) ([]core.Job, error) {
	return collect(ctx, s, func(rows *sql.Rows) (job core.Job, err error) {
		var encoded sql.RawBytes
		if err = rows.Scan(&encoded); err == nil {
			err = json.Unmarshal(encoded, &job)
		}
		return job, err
	}, query, args...)
}

// ids returns the IDs that a query finds.
func (s *Store) ids(ctx context.Context, query string, args ...any) ([]string, error) {
	return collect(ctx, s, func(rows *sql.Rows) (id string, err error) {
		err = rows.Scan(&id)
		return id, err
	}, query, args...)
}

// collect returns what a query finds, each row as scan reads it.
func collect[T any](ctx context.Context, s *Store, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.explain(err)
	}
	defer rows.Close()
	var found []T
	for rows.Next() {
		value, err := scan(rows)
		if err != nil {
			return nil, s.explain(err)
		}
		found = append(found, value)
	}
	return found, s.explain(rows.Err())
}
