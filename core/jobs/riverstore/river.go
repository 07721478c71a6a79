package riverstore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/seed-af7fee88/foreman/core"
)

// kind is River's word for what kind of work a job is.
const kind = "foreman"

// riverArgs is what River's tools show of a job. The payload isn't in it.
type riverArgs struct {
	ID     string `json:"id"`
	Model  string `json:"model"`
	Path   string `json:"path"`
	Caller string `json:"caller"`
}

// queueName is the River queue of a model: readable, and no other model's.
// River wants lower-case letters and digits with single marks between them,
// 64 bytes at most.
func queueName(model core.ModelName) string {
	slug := strings.FieldsFunc(model.String(), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	hash := sha256.Sum256([]byte(model.String()))
	return fmt.Sprintf("%s-%x", strings.TrimRight(fmt.Sprintf("%.40s", strings.Join(append([]string{kind}, slug...), "-")), "-"), hash[:6])
}

func (tx *txn) makeQueue(ctx context.Context, name string) error {
	_, err := tx.river.QueueCreateOrSetUpdatedAt(ctx, &riverdriver.QueueCreateOrSetUpdatedAtParams{Metadata: []byte(`{}`), Name: name})
	return err
}

// riverState is River's state of a job.
func riverState(job core.Job) rivertype.JobState {
	switch job.State {
	case core.JobQueued:
		if job.NotBefore != nil {
			return rivertype.JobStateRetryable
		}
		return rivertype.JobStateAvailable
	case core.JobLoading, core.JobWorking:
		return rivertype.JobStateRunning
	case core.JobDone:
		return rivertype.JobStateCompleted
	case core.JobCancelled:
		return rivertype.JobStateCancelled
	default:
		return rivertype.JobStateDiscarded
	}
}

func (tx *txn) insertRiver(ctx context.Context, job core.Job, queue string) (int64, error) {
	args, err := json.Marshal(riverArgs{job.ID, job.Model, job.Path, job.Caller})
	if err != nil {
		return 0, err
	}
	inserted, err := tx.river.JobInsertFull(ctx, &riverdriver.JobInsertFullParams{
		CreatedAt: &job.CreatedAt, EncodedArgs: args, Kind: kind,
		MaxAttempts: river.MaxAttemptsDefault, Metadata: []byte(`{}`), Priority: 2 - int(job.Priority), Queue: queue,
		ScheduledAt: &job.CreatedAt, State: riverState(job), Tags: []string{},
	})
	if err != nil {
		return 0, err
	}
	return inserted.ID, nil
}

// follow makes River's row show what became of a job.
func (tx *txn) follow(ctx context.Context, was, is *row) error {
	state := riverState(is.job)
	if state == riverState(was.job) {
		return nil
	}
	if was.claimed() {
		return tx.leaveRunning(ctx, is, state)
	}
	update := &riverdriver.JobUpdateFullParams{
		ID: is.riverID, StateDoUpdate: true, State: state, AttemptDoUpdate: true, Attempt: is.job.Attempt,
		FinalizedAtDoUpdate: true, FinalizedAt: is.job.EndedAt,
	}
	switch is.job.State {
	case core.JobLoading:
		update.AttemptedAtDoUpdate, update.AttemptedAt = true, is.job.StartedAt
		update.AttemptedByDoUpdate, update.AttemptedBy = true, []string{is.node}
	case core.JobFailed: // while it waited
		update.ErrorsDoUpdate = true
		for _, a := range is.job.Attempts {
			update.Errors = append(update.Errors, riverError(a.At, a.Error))
		}
		update.Errors = append(update.Errors, riverError(*is.job.EndedAt, is.job.Error))
	}
	_, err := tx.river.JobUpdateFull(ctx, update)
	return err
}

// leaveRunning ends the attempt in River's row.
func (tx *txn) leaveRunning(ctx context.Context, is *row, state rivertype.JobState) error {
	var failure []byte
	if is.job.Error != "" {
		failure = riverError(*is.job.StartedAt, is.job.Error)
	}
	_, err := tx.river.JobSetStateIfRunningMany(ctx, &riverdriver.JobSetStateIfRunningManyParams{
		ID: []int64{is.riverID}, State: []rivertype.JobState{state}, Attempt: []*int{&is.job.Attempt},
		ErrData: [][]byte{failure}, FinalizedAt: []*time.Time{is.job.EndedAt}, ScheduledAt: []*time.Time{is.job.NotBefore},
		MetadataDoMerge: []bool{false}, MetadataUpdates: [][]byte{nil},
	})
	return err
}

func (tx *txn) forgetRiver(ctx context.Context, id int64) error {
	_, err := tx.river.JobDelete(ctx, &riverdriver.JobDeleteParams{ID: id})
	if errors.Is(err, rivertype.ErrNotFound) {
		return nil
	}
	return err
}

func riverError(at time.Time, text string) []byte {
	encoded, _ := json.Marshal(rivertype.AttemptError{At: at, Error: text}) // no such value fails
	return encoded
}
