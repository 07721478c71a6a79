package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

type jobsCmd struct {
	Submit jobsSubmitCmd `cmd:"" help:"Give the daemon work to do when it is the turn of its model; prints the job's ID."`
	List   jobsListCmd   `cmd:"" help:"List the jobs, the newest first; on a terminal also what runs and what is next."`
	Show   jobsShowCmd   `cmd:"" help:"Tell all about a job but its answer."`
	Wait   jobsWaitCmd   `cmd:"" help:"Print the answers of jobs once there are any."`
	Cancel jobsCancelCmd `cmd:"" help:"Cancel jobs, those that run too."`
	Retry  jobsRetryCmd  `cmd:"" help:"Have jobs tried again that failed or were cancelled."`
	Replay jobsReplayCmd `cmd:"" help:"Compare the schedule with others on a recorded trace."`
}

// no tells err, for an answer that is no.
func (e *env) no(err error) error {
	e.say("foreman: %v", err)
	return errNo
}

// refused is what a daemon's error means for a command that asked it to do
// something: a no, a wrong command line, or that it can't tell.
func (e *env) refused(err error) error {
	refusal, ok := errors.AsType[*api.Refusal](err)
	if !ok {
		return cantTell(err)
	}
	switch refusal.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return usageError{refusal}
	case http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity:
		return e.no(refusal)
	default:
		return cantTell(refusal)
	}
}

// refusedFor is [env.refused] for what was asked about one job. If there is
// none of that ID it tells which may have been meant.
func (e *env) refusedFor(ctx context.Context, client *api.Client, id string, err error) error {
	if refusal, ok := errors.AsType[*api.Refusal](err); !ok || refusal.Status != http.StatusNotFound {
		return e.refused(err)
	}
	page, bad := client.Jobs(ctx, core.JobQuery{Limit: jobsPerPage})
	if bad != nil {
		return e.refused(bad) // perhaps that no jobs are kept at all
	}
	if near := withPart(id, page.Jobs); len(near) > 0 {
		return e.no(fmt.Errorf("no job %s; did you mean %s?", id, strings.Join(near, " or ")))
	}
	return e.no(fmt.Errorf("job %s: %w", id, err))
}

// withPart returns the IDs of at most three jobs that have part in them: one
// that was copied may have lost an end.
func withPart(part string, jobs []core.Job) []string {
	var near []string
	for _, job := range jobs {
		if len(part) >= 4 && strings.Contains(job.ID, part) && len(near) < 3 {
			near = append(near, job.ID)
		}
	}
	return near
}

// jobIDs are as the daemon writes them: letters in IDs are capitals.
func jobIDs(args []string) []string {
	ids := make([]string, len(args))
	for i, arg := range args {
		ids[i] = strings.ToUpper(strings.TrimSpace(arg))
	}
	return ids
}

type jobsShowCmd struct {
	ID string `arg:"" name:"id" help:"The job's ID."`
	daemonFlag
	Output string `short:"o" help:"Format: text or json." enum:"text,json" default:"text" env:"FOREMAN_JOBS_SHOW_OUTPUT"`
}

// Run tells all about a job.
func (c *jobsShowCmd) Run(ctx context.Context, e *env) error {
	client, err := c.open(e)
	if err != nil {
		return err
	}
	id := jobIDs([]string{c.ID})[0]
	job, err := client.Job(ctx, id)
	if err != nil {
		return e.refusedFor(ctx, client, id, err)
	}
	if c.Output == "json" {
		return e.json(jobDocument(job))
	}
	return e.fields(jobFields(job, time.Now()))
}

func jobDocument(job core.Job) any {
	return struct {
		SchemaVersion int `json:"schema_version"`
		core.Job
	}{1, job}
}

var stateColours = map[core.JobState]int{core.JobDone: green, core.JobFailed: red}

func jobFields(job core.Job, now time.Time) []field {
	fields := []field{
		{label: "id", value: job.ID},
		{label: "state", value: stateText(job), colour: stateColours[job.State]},
		{label: "model", value: job.Model},
		{label: "path", value: job.Path},
		{label: "priority", value: job.Priority.String()},
	}
	add := func(label, value string) {
		if value != "" {
			fields = append(fields, field{label: label, value: value})
		}
	}
	add("caller", job.Caller)
	add("created", whenText(&job.CreatedAt, now))
	add("due", whenText(job.NotBefore, now))
	add("started", whenText(job.StartedAt, now))
	add("ended", whenText(job.EndedAt, now))
	add("expires", whenText(job.ExpiresAt, now))
	add("webhook", job.Webhook)
	add("key", job.IdempotencyKey)
	for _, a := range job.Attempts {
		add("attempt", attemptText(a))
	}
	if job.Error != "" {
		fields = append(fields, field{label: "error", value: job.Error, colour: red})
	}
	return fields
}

// stateText is a job's state and what belongs to it.
func stateText(job core.Job) string {
	text := string(job.State)
	if job.Position != nil {
		text += fmt.Sprintf(", %s for its model", humanize.Ordinal(*job.Position))
	}
	if job.Status != 0 {
		text += fmt.Sprintf(", status %d", job.Status)
	}
	return text
}

func whenText(t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return ""
	case t.After(now):
		return absolute(*t) + ", " + in(*t, now)
	default:
		return absolute(*t) + ", " + ago(*t)
	}
}

func attemptText(a core.Attempt) string {
	text := fmt.Sprintf("%s, took %s", absolute(a.At), tenths(a.EndedAt.Sub(a.At)))
	if a.Reason != "" {
		text += ", " + string(a.Reason)
	}
	if !a.Counts {
		text += ", doesn't count"
	}
	if a.Error != "" {
		text += ": " + a.Error
	}
	return text
}
