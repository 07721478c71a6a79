package api

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Headers of POST /jobs, besides Idempotency-Key. None is needed.
const (
	HeaderPriority = "Foreman-Priority" // low, normal or high
	HeaderWebhook  = "Foreman-Webhook"  // URL that changes of state are sent to
	HeaderExpires  = "Foreman-Expires"  // time, or how long from now, until which it must have begun
)

const (
	longestKey = 255
	longestURL = 2048
	usualPath  = "/api/chat" // unless ?path= says
)

// submit answers POST /jobs. The body is as of the route in ?path=, and is
// judged as there; errors have the shape of Ollama's own routes whatever that
// is. A second submit with the same key gets the same answer.
func (s *service) submit(w http.ResponseWriter, r *http.Request) error {
	request, err := s.jobRequest(r)
	if err != nil {
		return err
	}
	payload, err := s.takeIn(w, r)
	if err != nil {
		return err
	}
	defer payload.drop()
	if request.Model, err = modelOf(payload.data, "model"); err != nil {
		return err
	}
	request.Body = payload.data
	job, err := s.keep(r, request)
	if errors.Is(err, core.ErrJobConflict) {
		return errorf(http.StatusUnprocessableEntity, "%s %q came with another request before", idempotencyKey, request.IdempotencyKey)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", jobPrefix+job.ID)
	return sendJSON(w, http.StatusAccepted, jsonType, submitted{job.ID})
}

// keep admits a job that isn't known. One that is keeps its answer, whatever
// became of its model or of the room in the queue, and though it has expired.
func (s *service) keep(r *http.Request, request core.JobRequest) (core.Job, error) {
	ctx := r.Context()
	if request.IdempotencyKey != "" {
		if job, known, err := s.deps.Jobs.Known(ctx, request); known || err != nil {
			return job, err
		}
	}
	at, err := core.ParseExpiry(r.Header.Get(HeaderExpires), time.Now())
	if err != nil {
		return core.Job{}, errorf(http.StatusBadRequest, "%s is %v", HeaderExpires, err)
	}
	if at != nil {
		request.ExpiresAt = timeOrNull(*at)
	}
	if err := s.admit(ctx, request.Model); err != nil {
		return core.Job{}, err
	}
	job, _, err := s.deps.Jobs.Submit(ctx, request)
	return job, err
}

// submitted is the body of a 202 to POST /jobs.
type submitted struct {
	JobID string `json:"job_id"`
}

// jobRequest is what the query and the headers of r say, but for the expiry,
// which only a new job has to keep.
func (s *service) jobRequest(r *http.Request) (core.JobRequest, error) {
	request := core.JobRequest{
		Path: usualPath, Webhook: r.Header.Get(HeaderWebhook), IdempotencyKey: r.Header.Get(idempotencyKey),
	}
	if r.URL.Query().Has("path") {
		request.Path = r.URL.Query().Get("path")
	}
	if err := s.takes(request.Path); err != nil {
		return request, err
	}
	if level := r.Header.Get(HeaderPriority); level != "" {
		if err := request.Priority.UnmarshalText([]byte(level)); err != nil {
			return request, errorf(http.StatusBadRequest, "%s: %v", HeaderPriority, err)
		}
	}
	if len(request.IdempotencyKey) > longestKey {
		return request, errorf(http.StatusBadRequest, "%s is over %d bytes", idempotencyKey, longestKey)
	}
	if !isWebhook(request.Webhook) {
		return request, errorf(http.StatusBadRequest, "%s is %q: want an http or https URL", HeaderWebhook, request.Webhook)
	}
	request.Caller, _ = s.guard.caller(r.Header)
	return request, nil
}

// takes returns why no job can be one of path, or nil.
func (s *service) takes(path string) error {
	instead, ok := works[path]
	if !ok || instead == "" && !s.opts.OpenAI {
		return errorf(http.StatusBadRequest, "path %q does no work: want one of %s", path,
			strings.Join(slices.Sorted(maps.Keys(works)), ", "))
	}
	if instead != "" {
		return s.lacks("path=" + instead)
	}
	return nil
}

func isWebhook(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(text) <= longestURL
}
