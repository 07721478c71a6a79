package api_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/seed-af7fee88/foreman/core"
)

// A shelf keeps jobs whose IDs are J1, J2 and so on. Nobody works on them.
type shelf struct {
	most   int // jobs; 0 is no bound
	broken error
	mute   bool // no webhooks
	secure bool // none of plain http

	mu      sync.Mutex
	jobs    map[string]core.Job
	asked   map[string]core.JobRequest
	results map[string]core.JobResult
	news    chan core.JobNews // of whatever job somebody follows
	gone    chan struct{}     // gets one when a follower leaves
}

func newShelf(jobs ...core.Job) *shelf {
	s := &shelf{
		jobs: map[string]core.Job{}, asked: map[string]core.JobRequest{}, results: map[string]core.JobResult{},
		news: make(chan core.JobNews), gone: make(chan struct{}, 1000),
	}
	for _, job := range jobs {
		s.jobs[job.ID] = job
	}
	return s
}

func (s *shelf) options(o *setup) { o.Jobs = s }

func (s *shelf) Known(_ context.Context, r core.JobRequest) (core.Job, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known(r)
}

func (s *shelf) known(r core.JobRequest) (core.Job, bool, error) {
	for id, job := range s.jobs {
		if r.IdempotencyKey != "" && job.IdempotencyKey == r.IdempotencyKey {
			if string(s.asked[id].Body) != string(r.Body) {
				return core.Job{}, false, fmt.Errorf("keep: %w", core.ErrJobConflict)
			}
			return job, true, nil
		}
	}
	return core.Job{}, false, nil
}

func (s *shelf) Submit(_ context.Context, r core.JobRequest) (core.Job, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if job, known, err := s.known(r); known || err != nil {
		return job, known, err
	}
	switch {
	case s.broken != nil:
		return core.Job{}, false, s.broken
	case s.mute && r.Webhook != "":
		return core.Job{}, false, core.ErrNoWebhooks
	case s.secure && strings.HasPrefix(r.Webhook, "http:"):
		return core.Job{}, false, core.ErrPlainWebhook
	case core.NameOf(r.Model) == (core.ModelName{}):
		return core.Job{}, false, fmt.Errorf("keep: %w", core.ErrInvalidName)
	case s.most > 0 && len(s.jobs) >= s.most:
		return core.Job{}, false, core.ErrJobsFull
	}
	job := core.Job{
		ID: fmt.Sprintf("J%d", len(s.jobs)+1), State: core.JobQueued, Model: r.Model, Path: r.Path, Priority: r.Priority,
		Caller: r.Caller, IdempotencyKey: r.IdempotencyKey, Webhook: r.Webhook, ExpiresAt: r.ExpiresAt,
	}
	r.Body = slices.Clone(r.Body)
	s.jobs[job.ID], s.asked[job.ID] = job, r
	return job, false, nil
}

func (s *shelf) Get(_ context.Context, id string) (core.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	job, ok := s.jobs[id]
	if !ok {
		return job, fmt.Errorf("%s: %w", id, core.ErrNoJob)
	}
	return job, s.broken
}

func (s *shelf) List(_ context.Context, q core.JobQuery) (page []core.Job, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, job := range s.jobs {
		if (q.State == "" || job.State == q.State) && (q.Model == "" || job.Model == q.Model) && (q.Cursor == "" || job.ID < q.Cursor) {
			page = append(page, job)
		}
	}
	slices.SortFunc(page, func(a, b core.Job) int { return strings.Compare(b.ID, a.ID) })
	if len(page) > q.Limit {
		page = page[:q.Limit]
		next = page[q.Limit-1].ID
	}
	return page, next, s.broken
}

func (s *shelf) Result(_ context.Context, id string) (core.JobResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if result, ok := s.results[id]; ok {
		return result, nil
	}
	return core.JobResult{}, core.ErrJobConflict
}

func (s *shelf) Cancel(ctx context.Context, id string) (core.Job, error) {
	job, err := s.Get(ctx, id)
	switch {
	case err != nil:
		return job, err
	case job.State.Ended():
		return job, core.ErrJobConflict
	case job.State == core.JobQueued:
		job.State = core.JobCancelled
	}
	return job, nil
}

func (s *shelf) Retry(ctx context.Context, id string) (core.Job, error) {
	job, err := s.Get(ctx, id)
	if err == nil && job.State != core.JobFailed && job.State != core.JobCancelled {
		return job, core.ErrJobConflict
	}
	job.State = core.JobQueued
	return job, err
}

func (s *shelf) Follow(ctx context.Context, id string) iter.Seq2[core.JobNews, error] {
	return func(yield func(core.JobNews, error) bool) {
		defer func() { s.gone <- struct{}{} }()
		job, err := s.Get(ctx, id)
		if err != nil {
			yield(core.JobNews{}, err)
			return
		}
		ended := job.State.Ended()
		for more := yield(core.JobNews{Job: &job}, nil); more && !ended; {
			select {
			case news := <-s.news:
				ended = news.Job != nil && news.Job.State.Ended()
				more = yield(news, nil)
			case <-ctx.Done():
				yield(core.JobNews{}, ctx.Err())
				return
			}
		}
	}
}

func (s *shelf) Counts(context.Context) (map[core.JobState]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[core.JobState]int{}
	for _, job := range s.jobs {
		counts[job.State]++
	}
	return counts, s.broken
}

func (s *shelf) StoreError() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		return ""
	}
	return s.broken.Error()
}
