package api

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-af7fee88/foreman/core"
)

// Jobs is what the API needs of the durable jobs. An ID that isn't known has
// [core.ErrNoJob], a state or an idempotency key that forbids what is asked
// [core.ErrJobConflict].
type Jobs interface {
	// Submit keeps a job, and returns once it would survive a crash. If its
	// idempotency key is known, the job is the one from then. Its error may be
	// [core.ErrJobsFull], [core.ErrDiskFull], [core.ErrInvalidName],
	// [core.ErrNoWebhooks] or [core.ErrPlainWebhook].
	Submit(ctx context.Context, request core.JobRequest) (job core.Job, known bool, err error)

	// Known is Submit of a job that is known by its idempotency key, and keeps
	// none: known is false if it is new.
	Known(ctx context.Context, request core.JobRequest) (job core.Job, known bool, err error)

	Get(ctx context.Context, id string) (core.Job, error)
	List(ctx context.Context, query core.JobQuery) (page []core.Job, next string, err error)
	Result(ctx context.Context, id string) (core.JobResult, error)

	// Cancel returns the job as it is then: one that runs may take a moment.
	Cancel(ctx context.Context, id string) (core.Job, error)
	Retry(ctx context.Context, id string) (core.Job, error)

	// Follow has what the job is now, then its changes and its answer as they
	// come, until it has ended. An error is the last that comes. What has been
	// told isn't written to.
	Follow(ctx context.Context, id string) iter.Seq2[core.JobNews, error]

	Counts(ctx context.Context) (map[core.JobState]int, error)

	// StoreError is why jobs can't be kept or read at present, "" if they can.
	StoreError() string
}

const (
	jobPrefix = "/jobs/"
	jobRoute  = "/jobs/{id}" // of one job, and what may follow
	jobsUI    = "ui"         // is no job's ID
)

func (s *service) jobRoutes() map[string]route {
	ui := s.jobsUI
	return map[string]route{
		"/jobs":              {http.MethodGet: s.keeping(s.listJobs), http.MethodPost: s.keeping(s.submit)},
		jobRoute:             {http.MethodGet: s.keeping(s.job), http.MethodDelete: s.keeping(s.cancelJob)},
		jobRoute + "/result": {http.MethodGet: s.keeping(s.jobResult)},
		jobRoute + "/events": {http.MethodGet: s.keeping(s.jobEvents)},
		jobRoute + "/retry":  {http.MethodPost: s.keeping(s.retryJob)},
		jobPrefix + jobsUI:   {http.MethodGet: ui, http.MethodPost: ui, http.MethodPut: ui, http.MethodDelete: ui},
	}
}

// jobKey is the key in [service.jobRoutes] of a path that has rest after
// jobPrefix, or "".
func jobKey(rest string) string {
	id, part, more := strings.Cut(rest, "/")
	switch {
	case id == "":
		return ""
	case id == jobsUI:
		return jobPrefix + jobsUI
	case more:
		return jobRoute + "/" + part
	default:
		return jobRoute
	}
}

// HeaderJobState comes with a result and nothing else: the status of a failed
// job's result is the target's.
const HeaderJobState = "Foreman-Job-State"

const (
	jobsPage     = 50 // jobs, unless limit says
	mostJobsPage = 500
)

// JobsPage is the body of GET /jobs.
type JobsPage struct {
	Jobs []core.Job `json:"jobs"` // the newest first
	Next string     `json:"next"` // the cursor of the next page, "" if there is none
}

// keeping is h where jobs are kept.
func (s *service) keeping(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		switch {
		case s.deps.Jobs == nil && s.deps.NoJobs != "":
			return errorf(http.StatusServiceUnavailable, "this foreman keeps no jobs at present; foreman health says why")
		case s.deps.Jobs == nil:
			return errorf(http.StatusNotFound, "this foreman keeps no jobs")
		}
		w.Header().Set("Cache-Control", "no-store")
		return h(w, r)
	}
}

// jobID is the ID in the path of a job's route.
func jobID(r *http.Request) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), jobPrefix), "/")
	return id
}

func (s *service) listJobs(w http.ResponseWriter, r *http.Request) error {
	asked := r.URL.Query()
	query := core.JobQuery{
		State: core.JobState(asked.Get("state")), Model: asked.Get("model"), Cursor: asked.Get("cursor"), Limit: jobsPage,
	}
	if query.State != "" && !slices.Contains(core.JobStates(), query.State) {
		return errorf(http.StatusBadRequest, "state %q is none of %v", query.State, core.JobStates())
	}
	if query.Model != "" && core.NameOf(query.Model) == (core.ModelName{}) {
		return core.ErrInvalidName
	}
	if limit := asked.Get("limit"); limit != "" {
		var err error
		if query.Limit, err = strconv.Atoi(limit); err != nil || query.Limit < 1 || query.Limit > mostJobsPage {
			return errorf(http.StatusBadRequest, "limit is %q: want 1 to %d", limit, mostJobsPage)
		}
	}
	page, next, err := s.deps.Jobs.List(r.Context(), query)
	if err != nil {
		return err
	}
	told := JobsPage{Jobs: make([]core.Job, 0, len(page)), Next: next} // never null
	for _, job := range page {
		told.Jobs = append(told.Jobs, tellable(job))
	}
	return writeJSON(w, jsonType, told)
}

// tellable is job without a null where its JSON has a list, and of its webhook
// only where that leads: the rest often is a secret, and the caller's own.
func tellable(job core.Job) core.Job {
	if u, err := url.Parse(job.Webhook); err == nil && u.Host != "" {
		job.Webhook = u.Scheme + "://" + u.Host
	}
	if job.Attempts == nil {
		job.Attempts = []core.Attempt{}
	}
	return job
}

func writeJob(w http.ResponseWriter, status int, job core.Job) error {
	return sendJSON(w, status, jsonType, tellable(job))
}

func (s *service) job(w http.ResponseWriter, r *http.Request) error {
	job, err := s.deps.Jobs.Get(r.Context(), jobID(r))
	if err != nil {
		return err
	}
	return writeJob(w, http.StatusOK, job)
}

// jobResult answers what the target did, byte for byte and with its status: of
// a failed job that is an error's. While there is no result, it is 409, and 410
// if the job has ended without one.
func (s *service) jobResult(w http.ResponseWriter, r *http.Request) error {
	job, err := s.deps.Jobs.Get(r.Context(), jobID(r))
	if err != nil {
		return err
	}
	result, err := s.deps.Jobs.Result(r.Context(), job.ID)
	if errors.Is(err, core.ErrJobConflict) {
		return noResult(job)
	}
	if err != nil {
		return err
	}
	w.Header().Set(HeaderJobState, string(job.State))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return send(w, result.Status, result.ContentType, result.Body)
}

func noResult(job core.Job) error {
	switch {
	case !job.State.Ended():
		return errorf(http.StatusConflict, "job %s is %s: it has no result yet", job.ID, job.State)
	case job.Error != "":
		return errorf(http.StatusGone, "job %s is %s and has no result: %s", job.ID, job.State, job.Error)
	default:
		return errorf(http.StatusGone, "job %s is %s and has no result", job.ID, job.State)
	}
}

// cancelJob answers 200 with the job once it is cancelled, and 202 while what
// runs of it is being stopped.
func (s *service) cancelJob(w http.ResponseWriter, r *http.Request) error {
	job, err := s.deps.Jobs.Cancel(r.Context(), jobID(r))
	if err != nil {
		return s.forbidden(r, err, "only one that hasn't ended can be cancelled")
	}
	if job.State != core.JobCancelled {
		return writeJob(w, http.StatusAccepted, job)
	}
	return writeJob(w, http.StatusOK, job)
}

func (s *service) retryJob(w http.ResponseWriter, r *http.Request) error {
	job, err := s.deps.Jobs.Retry(r.Context(), jobID(r))
	if err != nil {
		return s.forbidden(r, err, "only one that failed or was cancelled can be tried again")
	}
	return writeJob(w, http.StatusAccepted, job)
}

// forbidden is err, with words for a conflict that say what the job is.
func (s *service) forbidden(r *http.Request, err error, rule string) error {
	if !errors.Is(err, core.ErrJobConflict) {
		return err
	}
	job, err := s.deps.Jobs.Get(r.Context(), jobID(r))
	if err != nil {
		return err
	}
	return errorf(http.StatusConflict, "job %s is %s: %s", job.ID, job.State, rule)
}

// uiPolicy has the pages load nothing from elsewhere, and nobody frame them.
// They set styles by themselves.
const uiPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func (s *service) jobsUI(w http.ResponseWriter, r *http.Request) error {
	if s.deps.JobsUI == nil {
		return errorf(http.StatusNotFound, "this foreman has no pages about jobs")
	}
	header := w.Header()
	header.Set("Content-Security-Policy", uiPolicy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	s.deps.JobsUI.ServeHTTP(w, r)
	return nil
}
