package riverstore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Insert keeps a new job.
func (s *Store) Insert(ctx context.Context, job core.Job, payload []byte) (kept core.Job, known bool, err error) {
	model := core.NameOf(job.Model)
	if model == (core.ModelName{}) {
		return job, false, fmt.Errorf("%.100q: %w", job.Model, core.ErrInvalidName)
	}
	job.State, job.Attempt, job.Attempts = core.JobQueued, 0, []core.Attempt{}
	job.CreatedAt, job.NotBefore, job.ExpiresAt = job.CreatedAt.UTC(), nil, inUTC(job.ExpiresAt)
	queue := queueName(model)
	err = s.change(ctx, func(tx *txn) error {
		earlier, found, err := tx.byKey(ctx, job.Caller, job.IdempotencyKey)
		if err != nil {
			return err
		}
		if found {
			kept, known = earlier, true
			return tx.same(ctx, earlier, job.Path, payload)
		}
		kept = job
		if _, there := s.queues.Load(queue); !there {
			if err := tx.makeQueue(ctx, queue); err != nil {
				return err
			}
		}
		return tx.insert(ctx, job, queue, payload)
	})
	if err != nil {
		return core.Job{}, false, err
	}
	s.queues.Store(queue, true)
	return kept, known, nil
}

// Known returns the job that a caller gave a key to.
func (s *Store) Known(ctx context.Context, job core.Job, payload []byte) (kept core.Job, known bool, err error) {
	sqlTx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return core.Job{}, false, s.explain(err)
	}
	defer func() { _ = sqlTx.Rollback() }() // it has changed nothing
	tx := &txn{Tx: sqlTx}
	if kept, known, err = tx.byKey(ctx, job.Caller, job.IdempotencyKey); known && err == nil {
		err = tx.same(ctx, kept, job.Path, payload)
	}
	if err != nil {
		return core.Job{}, false, s.explain(err)
	}
	return kept, known, nil
}

func (tx *txn) insert(ctx context.Context, job core.Job, queue string, payload []byte) error {
	riverID, err := tx.insertRiver(ctx, job, queue)
	if err != nil {
		return err
	}
	columns, err := (&row{job: job, riverID: riverID}).columns()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO foreman_job VALUES (`+placeholders(len(columns))+`)`, columns...); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO foreman_payload (id, body) VALUES ($1, $2)`, job.ID, notNull(payload)); err != nil {
		return err
	}
	return tx.count(ctx, map[core.JobState]int{core.JobQueued: 1})
}

// byKey is the job that a caller gave that key to.
func (tx *txn) byKey(ctx context.Context, caller, key string) (job core.Job, found bool, err error) {
	if key == "" {
		return job, false, nil
	}
	var encoded []byte
	err = tx.QueryRowContext(ctx, keyQuery, caller, key).Scan(&encoded)
	if errors.Is(err, sql.ErrNoRows) {
		return job, false, nil
	}
	if err != nil {
		return job, false, err
	}
	return job, true, json.Unmarshal(encoded, &job)
}

// same returns a conflict unless job asks the target for just this.
func (tx *txn) same(ctx context.Context, job core.Job, path string, payload []byte) error {
	var kept []byte
	if err := tx.QueryRowContext(ctx, `SELECT body FROM foreman_payload WHERE id = $1`, job.ID).Scan(&kept); err != nil {
		return err
	}
	if job.Path != path || !bytes.Equal(kept, payload) {
		return fmt.Errorf("the idempotency key is job %s's, which asks for something else: %w", job.ID, core.ErrJobConflict)
	}
	return nil
}

// notNull is b for a column that must not be NULL, as a nil slice would be.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}
