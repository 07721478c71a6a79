package riverstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river/riverdriver"

	"github.com/seed-af7fee88/foreman/core"
)

// A txn changes both rows of jobs, or nothing.
type txn struct {
	*sql.Tx
	river riverdriver.ExecutorTx
}

// change runs do in a transaction, which ends well if do does.
func (s *Store) change(ctx context.Context, do func(*txn) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(err)
	}
	if err := do(&txn{tx, s.driver.UnwrapExecutor(tx)}); err != nil {
		_ = tx.Rollback() // err is the one to tell
		return s.explain(err)
	}
	return s.explain(tx.Commit())
}

// A row is a job in foreman_job, with what a caller doesn't see of it.
type row struct {
	job     core.Job
	riverID int64
	node    string // who has claimed it
	cancel  bool   // that node shall cancel it
	untold  bool   // its webhook has yet to hear that it has ended
}

func (r *row) claimed() bool { return r.node != "" }

// due reports whether r waits, and is due at now.
func (r *row) due(now time.Time) bool {
	return r.job.State == core.JobQueued && (r.job.NotBefore == nil || !r.job.NotBefore.After(now))
}

// expired reports whether r may not be begun any more.
func (r *row) expired(now time.Time) bool {
	return r.job.ExpiresAt != nil && !r.job.ExpiresAt.After(now)
}

// laneOf is where a job stands in line if it waits and is due: its model and
// its rank in it, 0 for high. No other model's lane is between two of one.
func laneOf(model core.ModelName, p core.Priority) string {
	return fmt.Sprintf("%s %d", model, core.PriorityHigh-p)
}

// columns are the values of a row, in the order of foreman_job.
func (r *row) columns() ([]any, error) {
	model := core.NameOf(r.job.Model)
	job := r.job
	job.Position = nil
	encoded, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	waits := job.State == core.JobQueued
	return []any{
		job.ID, r.riverID, model.String(), string(job.State),
		sql.NullString{String: laneOf(model, job.Priority), Valid: waits && job.NotBefore == nil},
		nullTime(job.NotBefore, waits), nullTime(job.ExpiresAt, waits), nullTime(job.EndedAt, true),
		sql.NullString{String: r.node, Valid: r.claimed()}, flag(r.cancel), flag(r.untold),
		job.Caller, sql.NullString{String: job.IdempotencyKey, Valid: job.IdempotencyKey != ""}, encoded,
	}, nil
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func nullTime(t *time.Time, counts bool) sql.NullInt64 {
	if t == nil || !counts {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: true}
}

// row reads a job and keeps it from others until the transaction ends.
func (tx *txn) row(ctx context.Context, id, lock string) (*row, error) {
	r := new(row)
	var encoded []byte
	var node sql.NullString
	err := tx.QueryRowContext(ctx, `SELECT river_id, node, cancel, untold, job FROM foreman_job WHERE id = $1`+lock, id).
		Scan(&r.riverID, &node, &r.cancel, &r.untold, &encoded)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noJob(id)
	}
	if err != nil {
		return nil, err
	}
	r.node = node.String
	return r, json.Unmarshal(encoded, &r.job)
}

// changeJob has do change a job, and stores what it is then. If do fails,
// nothing has changed.
func (s *Store) changeJob(ctx context.Context, id string, do func(*txn, *row) error) (core.Job, error) {
	var job core.Job
	err := s.change(ctx, func(tx *txn) error {
		r, err := tx.row(ctx, id, s.dialect.lock)
		if err != nil {
			return err
		}
		was := *r
		if err := do(tx, r); err != nil {
			return err
		}
		job = r.job
		return tx.update(ctx, &was, r)
	})
	return job, err
}

// update stores a row that was there, in River's tables too.
func (tx *txn) update(ctx context.Context, was, r *row) error {
	columns, err := r.columns()
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE foreman_job SET river_id = $2, model = $3, state = $4, lane = $5, not_before = $6,
		expires_at = $7, ended_at = $8, node = $9, cancel = $10, untold = $11, caller = $12, idempotency_key = $13, job = $14
		WHERE id = $1`, columns...)
	if err != nil {
		return err
	}
	if r.job.State != was.job.State {
		if err := tx.count(ctx, map[core.JobState]int{was.job.State: -1, r.job.State: +1}); err != nil {
			return err
		}
	}
	return tx.follow(ctx, was, r)
}

// count notes that there are so many more jobs in those states, in one order
// whoever does it, lest two transactions wait for each other. For the same
// reason a transaction counts once, after it has changed its jobs.
func (tx *txn) count(ctx context.Context, more map[core.JobState]int) error {
	for _, state := range core.JobStates() {
		if more[state] == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO foreman_count (state, n) VALUES ($1, $2)
			ON CONFLICT (state) DO UPDATE SET n = foreman_count.n + excluded.n`, string(state), more[state])
		if err != nil {
			return err
		}
	}
	return nil
}

// placeholders are n of them, from $1 on.
func placeholders(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("$%d", i+1))
	}
	return strings.Join(list, ", ")
}
