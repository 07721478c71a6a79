package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/seed-af7fee88/foreman/core"
)

// httpError is an error that the caller may read.
type httpError struct {
	status     int
	message    string
	retryAfter int // seconds; 0 leaves the header out
}

func (e *httpError) Error() string { return e.message }

func errorf(status int, format string, args ...any) error {
	return &httpError{status: status, message: fmt.Sprintf(format, args...)}
}

// retrySeconds is short, since some clients obey Retry-After without telling
// their user.
const retrySeconds = 2

// asHTTP is the one table from errors to what a caller sees. What isn't in it
// stays inside.
func asHTTP(err error) *httpError {
	var known *httpError
	var absent *notInstalled
	var tooLarge *http.MaxBytesError
	var fault *core.Fault
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &absent):
		return &httpError{status: http.StatusNotFound, message: absent.Error()}
	case errors.As(err, &tooLarge):
		return &httpError{status: http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf("the request's body is over %d bytes; server.max_body sets the limit", tooLarge.Limit)}
	case errors.As(err, &fault):
		return &httpError{status: http.StatusServiceUnavailable, retryAfter: retrySeconds,
			message: "foreman can't reach its target: " + string(fault.Reason)}
	case errors.Is(err, core.ErrBusy):
		return &httpError{status: http.StatusServiceUnavailable, retryAfter: busySeconds,
			message: "server busy, please try again.  maximum pending requests exceeded"} // as Ollama says it
	case errors.Is(err, core.ErrNoJob):
		return &httpError{status: http.StatusNotFound, message: "no such job: there never was, or it ended longer ago than jobs.ttl"}
	case errors.Is(err, core.ErrNoWebhooks):
		return &httpError{status: http.StatusBadRequest, message: HeaderWebhook + ": this foreman sends no webhooks; jobs.webhooks = true in its config allows them"}
	case errors.Is(err, core.ErrPlainWebhook):
		return &httpError{status: http.StatusBadRequest, message: HeaderWebhook +
			": http:// is for private networks: want https://, or jobs.allow_private = true in foreman's config"}
	case errors.Is(err, core.ErrInvalidName):
		return &httpError{status: http.StatusBadRequest, message: "the model's name is none: it is empty, or over 512 bytes"}
	case errors.Is(err, core.ErrJobsFull):
		return &httpError{status: http.StatusServiceUnavailable, retryAfter: busySeconds, message: "as many jobs wait as jobs.max_queued allows"}
	case errors.Is(err, core.ErrDiskFull):
		return &httpError{status: http.StatusInsufficientStorage,
			message: "foreman's disk is full, and it can't keep more jobs: free space on the disk of server.state_dir"}
	case errors.Is(err, core.ErrUnavailable):
		return &httpError{status: http.StatusServiceUnavailable, retryAfter: retrySeconds, message: core.ErrUnavailable.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &httpError{status: http.StatusServiceUnavailable, retryAfter: retrySeconds, message: "no answer in time"}
	default:
		return &httpError{status: http.StatusInternalServerError, message: "internal error; foreman's log says more"}
	}
}

// fail tells err in the shape that callers of the path parse.
func (s *service) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := asHTTP(err)
	if e.status == http.StatusInternalServerError || e.status == http.StatusInsufficientStorage {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if e.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	if e.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", challenge(r))
	}
	body, err := json.Marshal(errorBody(r.URL.Path, e))
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	_ = send(w, e.status, jsonType, body)
}

// challenge is the scheme in which a caller of r may show a token.
func challenge(r *http.Request) string {
	if isUI(r.URL.EscapedPath()) {
		return `Basic realm="foreman: a token as the password"`
	}
	return "Bearer"
}

// errorBody has one of the three shapes that clients of Ollama parse: its
// own, OpenAI's and Anthropic's, as Ollama 0.17.4 writes them.
func errorBody(path string, e *httpError) any {
	switch {
	case path == "/v1/messages":
		return map[string]any{"type": "error", "error": map[string]string{
			"type": anthropicType(e.status), "message": e.message,
		}}
	case strings.HasPrefix(path, "/v1/"):
		return map[string]any{"error": map[string]any{
			"message": e.message, "type": openAIErrorType(e.status), "param": nil, "code": nil,
		}}
	default:
		return map[string]string{"error": e.message}
	}
}

func openAIErrorType(status int) string {
	if status == http.StatusBadRequest {
		return "invalid_request_error"
	}
	return "api_error"
}

func anthropicType(status int) string {
	switch status {
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return "invalid_request_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	default:
		return "api_error"
	}
}
