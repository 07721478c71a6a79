package jobs_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
	"github.com/seed-af7fee88/foreman/core/jobs/jobstest"
)

func TestMemory(t *testing.T) {
	jobstest.Store(t, func(*testing.T) jobs.Store { return newMemory() })
}

// memory is a store that survives no crash.
type memory struct {
	mu    sync.Mutex
	rows  map[string]*row
	broke func(method string) error // what a method fails with; nil for nothing
}

type row struct {
	core.Job
	model   core.ModelName
	payload []byte
	result  *core.JobResult
	node    string // the owner of a claimed job
	cancel  bool
	untold  bool // that it has ended
}

func newMemory() *memory { return &memory{rows: map[string]*row{}} }

// breaks has methods fail from now on.
func (m *memory) breaks(broke func(method string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broke = broke
}

func (m *memory) begin(method string) (end func(), err error) {
	m.mu.Lock()
	if m.broke != nil {
		err = m.broke(method)
	}
	return m.mu.Unlock, err
}

// change has do change a row, or return why it may not.
func (m *memory) change(method, id string, do func(r *row) error) (core.Job, error) {
	end, err := m.begin(method)
	defer end()
	if err != nil {
		return core.Job{}, err
	}
	r := m.rows[id]
	if r == nil {
		return core.Job{}, core.ErrNoJob
	}
	if err := do(r); err != nil {
		return core.Job{}, err
	}
	return r.copied(), nil
}

func (r *row) copied() core.Job {
	job := r.Job
	job.Attempts = slices.Clone(job.Attempts)
	return job
}

// owned has do change a row that node owns.
func (m *memory) owned(method, id, node string, do func(r *row)) (core.Job, error) {
	return m.change(method, id, func(r *row) error {
		if r.node != node {
			return core.ErrJobConflict
		}
		do(r)
		return nil
	})
}

func (r *row) end(state core.JobState, reason string, at time.Time) {
	at = at.UTC()
	r.State, r.Error, r.EndedAt, r.NotBefore = state, cmp.Or(reason, r.Error), &at, nil
	if state != core.JobFailed {
		r.Error = reason
	}
	r.node, r.cancel, r.untold = "", false, r.Webhook != ""
}

func (r *row) endAttempt(attempt *core.Attempt) {
	if attempt == nil || !attempt.Counts {
		r.Attempt--
	}
	if attempt == nil {
		return
	}
	if r.Attempts = append(r.Attempts, *attempt); len(r.Attempts) > jobs.MostAttempts {
		r.Attempts = r.Attempts[1:]
	}
}

func (r *row) putBack(attempt core.Attempt, notBefore time.Time) {
	r.endAttempt(&attempt)
	if r.cancel {
		r.end(core.JobCancelled, "", attempt.EndedAt)
		return
	}
	r.State, r.Error, r.node = core.JobQueued, attempt.Error, ""
	if notBefore = notBefore.UTC(); notBefore.After(attempt.EndedAt) {
		r.NotBefore = &notBefore
	}
}

func (m *memory) Insert(_ context.Context, job core.Job, payload []byte) (core.Job, bool, error) {
	end, err := m.begin("Insert")
	defer end()
	if err != nil {
		return core.Job{}, false, err
	}
	model := core.NameOf(job.Model)
	if model == (core.ModelName{}) {
		return core.Job{}, false, core.ErrInvalidName
	}
	if kept, known, err := m.known(job, payload); known || err != nil {
		return kept, known, err
	}
	if m.rows[job.ID] != nil {
		return core.Job{}, false, errors.New("the ID is taken")
	}
	job.CreatedAt = job.CreatedAt.UTC()
	m.rows[job.ID] = &row{Job: job, model: model, payload: bytes.Clone(payload)}
	return m.rows[job.ID].copied(), false, nil
}

func (m *memory) Known(_ context.Context, job core.Job, payload []byte) (core.Job, bool, error) {
	end, err := m.begin("Known")
	defer end()
	if err != nil {
		return core.Job{}, false, err
	}
	return m.known(job, payload)
}

func (m *memory) known(job core.Job, payload []byte) (core.Job, bool, error) {
	for _, r := range m.rows {
		if job.IdempotencyKey == "" || r.IdempotencyKey != job.IdempotencyKey || r.Caller != job.Caller {
			continue
		}
		if r.Path != job.Path || !bytes.Equal(r.payload, payload) {
			return core.Job{}, false, core.ErrJobConflict
		}
		return r.copied(), true, nil
	}
	return core.Job{}, false, nil
}

func (m *memory) Get(_ context.Context, id string) (core.Job, error) {
	return m.change("Get", id, func(*row) error { return nil })
}

// sorted are the rows that which selects, the oldest first.
func (m *memory) sorted(which func(*row) bool) []*row {
	var found []*row
	for _, r := range m.rows {
		if which(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *row) int { return cmp.Compare(a.ID, b.ID) })
	return found
}

func (m *memory) List(_ context.Context, query core.JobQuery) (page []core.Job, next string, err error) {
	end, err := m.begin("List")
	defer end()
	if err != nil {
		return nil, "", err
	}
	model := core.NameOf(query.Model)
	found := m.sorted(func(r *row) bool {
		return (query.State == "" || r.State == query.State) && (query.Model == "" || r.model == model) &&
			(query.Cursor == "" || r.ID < query.Cursor)
	})
	slices.Reverse(found)
	for i, r := range found {
		if i == max(1, query.Limit) {
			return page, page[i-1].ID, nil
		}
		page = append(page, r.copied())
	}
	return page, "", nil
}

func (m *memory) Result(_ context.Context, id string) (result core.JobResult, err error) {
	_, err = m.change("Result", id, func(r *row) error {
		if r.result == nil {
			return core.ErrJobConflict
		}
		result = *r.result
		return nil
	})
	return result, err
}

func (r *row) due(now time.Time) bool {
	return r.State == core.JobQueued && (r.NotBefore == nil || !r.NotBefore.After(now))
}

func (r *row) expired(now time.Time) bool {
	return r.ExpiresAt != nil && !r.ExpiresAt.After(now)
}

func (m *memory) Heads(_ context.Context, now time.Time, limit int) (heads []core.Job, next time.Time, err error) {
	end, err := m.begin("Heads")
	defer end()
	if err != nil {
		return nil, time.Time{}, err
	}
	type lane struct {
		model    string
		priority core.Priority
	}
	counts := map[lane]int{}
	waiting := m.sorted(func(r *row) bool { return r.State == core.JobQueued })
	slices.SortStableFunc(waiting, func(a, b *row) int {
		return cmp.Or(cmp.Compare(a.model.String(), b.model.String()), cmp.Compare(b.Priority, a.Priority))
	})
	for _, r := range waiting {
		if !r.due(now) {
			if next.IsZero() || r.NotBefore.Before(next) {
				next = *r.NotBefore
			}
			continue
		}
		r.NotBefore = nil
		in := lane{r.model.String(), r.Priority}
		if counts[in]++; counts[in] <= limit {
			heads = append(heads, r.copied())
		}
	}
	return heads, next, nil
}

func (m *memory) Claim(_ context.Context, id, node string, now time.Time) (job core.Job, payload []byte, err error) {
	job, err = m.change("Claim", id, func(r *row) error {
		if !r.due(now) || r.expired(now) {
			return core.ErrJobConflict
		}
		now = now.UTC()
		r.State, r.node, r.NotBefore, r.StartedAt = core.JobLoading, node, nil, &now
		r.Attempt++
		payload = r.payload
		return nil
	})
	return job, payload, err
}

func (m *memory) Working(_ context.Context, id, node string) error {
	_, err := m.owned("Working", id, node, func(r *row) { r.State = core.JobWorking })
	return err
}

func (m *memory) PutBack(_ context.Context, id, node string, attempt core.Attempt, notBefore time.Time) (core.Job, error) {
	return m.owned("PutBack", id, node, func(r *row) { r.putBack(attempt, notBefore) })
}

func (m *memory) Finish(_ context.Context, id, node string, state core.JobState, reason string, attempt *core.Attempt, result *core.JobResult) error {
	if !state.Ended() {
		return errors.New("no end")
	}
	_, err := m.owned("Finish", id, node, func(r *row) {
		r.endAttempt(attempt)
		ended := time.Now()
		if attempt != nil {
			ended = attempt.EndedAt
		}
		r.end(state, reason, ended)
		if result != nil {
			r.result, r.Status = result, result.Status
		}
	})
	return err
}

func (m *memory) Cancel(_ context.Context, id string, now time.Time) (core.Job, error) {
	return m.change("Cancel", id, func(r *row) error {
		switch {
		case r.State.Ended():
			return core.ErrJobConflict
		case r.node != "":
			r.cancel = true
		default:
			r.end(core.JobCancelled, "", now)
		}
		return nil
	})
}

func (m *memory) Fail(_ context.Context, id, reason string, now time.Time) error {
	_, err := m.change("Fail", id, func(r *row) error {
		if r.State != core.JobQueued {
			return core.ErrJobConflict
		}
		r.end(core.JobFailed, reason, now)
		return nil
	})
	return err
}

func (m *memory) Expired(_ context.Context, now time.Time, limit int) ([]core.Job, error) {
	end, err := m.begin("Expired")
	defer end()
	if err != nil {
		return nil, err
	}
	found := m.sorted(func(r *row) bool {
		return r.State == core.JobQueued && r.expired(now)
	})
	slices.SortStableFunc(found, func(a, b *row) int { return a.ExpiresAt.Compare(*b.ExpiresAt) })
	return copies(found, limit), nil
}

func copies(rows []*row, limit int) (list []core.Job) {
	for _, r := range rows[:min(limit, len(rows))] {
		list = append(list, r.copied())
	}
	return list
}

func (m *memory) Retry(_ context.Context, id string, now time.Time) (core.Job, error) {
	return m.change("Retry", id, func(r *row) error {
		if r.State != core.JobFailed && r.State != core.JobCancelled {
			return core.ErrJobConflict
		}
		r.State, r.Attempt, r.Error, r.Status, r.StartedAt, r.EndedAt = core.JobQueued, 0, "", 0, nil, nil
		r.result, r.untold = nil, false
		if r.expired(now) {
			r.ExpiresAt = nil
		}
		return nil
	})
}

func (m *memory) Cancelled(_ context.Context, node string) (ids []string, err error) {
	end, err := m.begin("Cancelled")
	defer end()
	if err != nil {
		return nil, err
	}
	for _, r := range m.sorted(func(r *row) bool { return r.cancel && r.node == node }) {
		ids = append(ids, r.ID)
	}
	return ids, nil
}

func (m *memory) Recover(_ context.Context, node string, now time.Time) (int, error) {
	end, err := m.begin("Recover")
	defer end()
	if err != nil {
		return 0, err
	}
	owned := m.sorted(func(r *row) bool { return r.node == node })
	for _, r := range owned {
		r.putBack(core.Attempt{At: *r.StartedAt, EndedAt: now, Reason: core.ReasonUnknown, Error: "foreman ended"}, now)
	}
	return len(owned), nil
}

func (m *memory) Counts(context.Context) (map[core.JobState]int, error) {
	end, err := m.begin("Counts")
	defer end()
	if err != nil {
		return nil, err
	}
	counts := map[core.JobState]int{}
	for _, state := range core.JobStates() {
		counts[state] = len(m.sorted(func(r *row) bool { return r.State == state }))
	}
	return counts, nil
}

func (m *memory) Ahead(_ context.Context, job core.Job) (int, error) {
	end, err := m.begin("Ahead")
	defer end()
	if err != nil {
		return 0, err
	}
	model := core.NameOf(job.Model)
	return len(m.sorted(func(r *row) bool {
		return r.State == core.JobQueued && r.NotBefore == nil && r.model == model &&
			(r.Priority > job.Priority || r.Priority == job.Priority && r.ID < job.ID)
	})), nil
}

func (m *memory) Forget(_ context.Context, before time.Time) (int, error) {
	end, err := m.begin("Forget")
	defer end()
	if err != nil {
		return 0, err
	}
	old := m.sorted(func(r *row) bool { return r.EndedAt != nil && r.EndedAt.Before(before) })
	for _, r := range old {
		delete(m.rows, r.ID)
	}
	return len(old), nil
}

func (m *memory) Untold(_ context.Context, limit int) ([]core.Job, error) {
	end, err := m.begin("Untold")
	defer end()
	if err != nil {
		return nil, err
	}
	found := m.sorted(func(r *row) bool { return r.untold })
	slices.SortStableFunc(found, func(a, b *row) int { return a.EndedAt.Compare(*b.EndedAt) })
	return copies(found, limit), nil
}

func (m *memory) Told(_ context.Context, id string) error {
	_, err := m.change("Told", id, func(r *row) error {
		r.untold = false
		return nil
	})
	return err
}

func (m *memory) Changed() <-chan struct{} { return nil }

func (m *memory) Close() error { return nil }
