package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

const (
	// jobsPerPage is how many jobs a daemon is asked for at a time, which is
	// the most that it gives.
	jobsPerPage = 500
	usualLimit  = 1000
)

type jobsListCmd struct {
	daemonFlag
	State  string `help:"Only those that are queued, loading, working, done, failed or cancelled." enum:"all,queued,loading,working,done,failed,cancelled" default:"all"`
	Model  string `help:"Only those of a model." placeholder:"MODEL"`
	Limit  int    `help:"At most so many, the newest; 0 lists all." default:"1000"`
	Board  bool   `help:"First tell what runs, what is next and how many models are to be loaded, as on a terminal."`
	Output string `short:"o" help:"Format: table, json, or name (IDs, one a line)." enum:"table,json,name" default:"table" env:"FOREMAN_JOBS_LIST_OUTPUT"`
}

// Run lists jobs.
func (c *jobsListCmd) Run(ctx context.Context, e *env) error {
	if c.Limit < 0 {
		return usageError{fmt.Errorf("--limit is %d, below 0", c.Limit)}
	}
	client, err := c.open(e)
	if err != nil {
		return err
	}
	jobs, more, err := c.jobs(ctx, client)
	if err != nil {
		return e.refused(err)
	}
	var queue *api.Queue
	if c.Output == "json" || c.Output == "table" && (c.Board || e.isTerminal()) {
		if queue, err = queueOf(ctx, client); err != nil {
			return e.refused(err)
		}
	}
	switch c.Output {
	case "json":
		return e.json(jobsDocument(jobs, more, queue))
	case "name":
		err = e.lines(idsOf(jobs))
	default:
		err = e.jobsTable(jobs, queue)
	}
	if err == nil && more && c.Limit == usualLimit { // else it is no surprise
		e.say("these are the newest %d; --limit 0 lists all", len(jobs))
	}
	return err
}

// jobs asks for page after page. There are more if the limit cuts them off.
func (c *jobsListCmd) jobs(ctx context.Context, client *api.Client) (jobs []core.Job, more bool, err error) {
	query := core.JobQuery{Model: c.Model}
	if c.State != "all" {
		query.State = core.JobState(c.State)
	}
	for {
		query.Limit = jobsPerPage
		if c.Limit > 0 {
			query.Limit = min(jobsPerPage, c.Limit-len(jobs))
		}
		page, err := client.Jobs(ctx, query)
		if err != nil {
			return nil, false, err
		}
		jobs = append(jobs, page.Jobs...)
		if page.Next == "" || len(jobs) == c.Limit {
			return jobs, page.Next != "", nil
		}
		query.Cursor = page.Next
	}
}

func idsOf(jobs []core.Job) []string {
	ids := make([]string, len(jobs))
	for i, job := range jobs {
		ids[i] = job.ID
	}
	return ids
}

func jobsDocument(jobs []core.Job, more bool, queue *api.Queue) any {
	return struct {
		SchemaVersion int        `json:"schema_version"`
		Queue         *api.Queue `json:"queue"` // null if nothing queues at this foreman
		Jobs          []core.Job `json:"jobs"`
		More          bool       `json:"more"` // than the limit lets through
	}{1, queue, append([]core.Job{}, jobs...), more}
}

// jobsTable writes jobs under the board, if there is one.
func (e *env) jobsTable(jobs []core.Job, queue *api.Queue) error {
	if queue != nil {
		if err := e.fields(boardFields(*queue)); err != nil {
			return err
		}
		if err := e.write([]byte("\n")); err != nil {
			return err
		}
	}
	return e.table(jobRows(jobs, time.Now()))
}

// jobRows have no space within a cell, for those who cut them.
func jobRows(jobs []core.Job, now time.Time) [][]string {
	rows := [][]string{{"ID", "STATE", "MODEL", "PRIORITY", "ATTEMPT", "AGE", "POSITION"}}
	for _, job := range jobs {
		position := "-"
		if job.Position != nil {
			position = strconv.Itoa(*job.Position)
		}
		rows = append(rows, []string{
			job.ID, string(job.State), job.Model, job.Priority.String(), strconv.Itoa(job.Attempt), age(now.Sub(job.CreatedAt)), position,
		})
	}
	return rows
}

// age is d in its largest unit.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, d)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}
