package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// submitTimeout is for sending a body with pictures over a slow link.
const submitTimeout = 2 * time.Minute

// Submit asks POST /jobs, and returns the new job's ID, or that of the one
// that came with the same key before. The request's Model and Caller are what
// the daemon makes of it.
func (c *Client) Submit(ctx context.Context, request core.JobRequest) (id string, err error) {
	header := http.Header{}
	for name, value := range map[string]string{
		"Content-Type": openAIType, idempotencyKey: request.IdempotencyKey, HeaderWebhook: request.Webhook,
	} {
		if value != "" {
			header.Set(name, value)
		}
	}
	if request.Priority != core.PriorityNormal {
		header.Set(HeaderPriority, request.Priority.String())
	}
	if request.ExpiresAt != nil {
		header.Set(HeaderExpires, request.ExpiresAt.Format(time.RFC3339Nano))
	}
	patient := c.http
	patient.Timeout = submitTimeout
	path := "/jobs?" + url.Values{"path": {request.Path}}.Encode()
	resp, err := c.open(ctx, &patient, http.MethodPost, path, header, bytes.NewReader(request.Body))
	if err != nil {
		return "", err
	}
	var told submitted
	err = c.decode(ctx, resp, &told)
	return told.JobID, err
}

// Jobs asks GET /jobs for one page.
func (c *Client) Jobs(ctx context.Context, query core.JobQuery) (JobsPage, error) {
	values := url.Values{}
	for name, value := range map[string]string{"state": string(query.State), "model": query.Model, "cursor": query.Cursor} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if query.Limit > 0 {
		values.Set("limit", strconv.Itoa(query.Limit))
	}
	return ask[JobsPage](ctx, c, http.MethodGet, "/jobs?"+values.Encode())
}

// Job asks GET /jobs/{id}.
func (c *Client) Job(ctx context.Context, id string) (core.Job, error) {
	return ask[core.Job](ctx, c, http.MethodGet, jobPath(id))
}

// Cancel asks DELETE /jobs/{id}. A job that runs may not have stopped yet.
func (c *Client) Cancel(ctx context.Context, id string) (core.Job, error) {
	return ask[core.Job](ctx, c, http.MethodDelete, jobPath(id))
}

// Retry asks POST /jobs/{id}/retry.
func (c *Client) Retry(ctx context.Context, id string) (core.Job, error) {
	return ask[core.Job](ctx, c, http.MethodPost, jobPath(id)+"/retry")
}

// Queue asks GET /queue.
func (c *Client) Queue(ctx context.Context) (Queue, error) {
	return ask[Queue](ctx, c, http.MethodGet, "/queue")
}

// Result asks GET /jobs/{id}/result, and writes what the target answered to
// the job. The status is the target's.
func (c *Client) Result(ctx context.Context, id string, to io.Writer) (status int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(clientTimeout, func() { cancel(errHush) })
	defer silence.Stop()
	endless := c.http
	endless.Timeout = 0
	resp, err := c.open(ctx, &endless, http.MethodGet, jobPath(id)+"/result", http.Header{}, nil)
	if err != nil {
		return 0, err
	}
	if resp.Header.Get(HeaderJobState) == "" {
		_, err := c.answered(ctx, resp)
		return 0, err
	}
	defer resp.Body.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		silence.Stop() // the writer takes its time
		if _, err := to.Write(buf[:n]); err != nil {
			return resp.StatusCode, err
		}
		if err == io.EOF {
			return resp.StatusCode, nil
		}
		if err != nil {
			return resp.StatusCode, c.noDaemon(ctx, err)
		}
		silence.Reset(clientTimeout)
	}
}

// JobEvents asks GET /jobs/{id}/events for what the job is, then its changes
// and its answer as they come. The stream ends with the job. An error is the
// last that comes: [ErrNoDaemon] if the stream ends before that.
func (c *Client) JobEvents(ctx context.Context, id string) iter.Seq2[core.JobNews, error] {
	return func(yield func(core.JobNews, error) bool) {
		for f, err := range c.frames(ctx, jobPath(id)+"/events", http.Header{}) {
			var news core.JobNews
			if err == nil {
				news, err = f.jobNews()
			}
			if !yield(news, err) || err != nil || news.Job != nil && news.Job.State.Ended() {
				return
			}
		}
	}
}

func (f frame) jobNews() (news core.JobNews, err error) {
	switch f.name {
	case stateFrame:
		news.Job = new(core.Job)
		err = f.decode(news.Job)
	case chunkFrame:
		var chunk jobChunk
		err = f.decode(&chunk)
		news.Chunk, news.Offset = []byte(chunk.Text), chunk.Offset
	}
	return news, err
}

func jobPath(id string) string { return jobPrefix + url.PathEscape(id) }

// ask asks for something that is JSON.
func ask[T any](ctx context.Context, c *Client, method, path string) (T, error) {
	var told T
	resp, err := c.open(ctx, &c.http, method, path, http.Header{}, nil)
	if err == nil {
		err = c.decode(ctx, resp, &told)
	}
	return told, err
}

func (c *Client) decode(ctx context.Context, resp *http.Response, into any) error {
	body, err := c.answered(ctx, resp)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the daemon's answer can't be read: %w", err)
	}
	return nil
}
