package main

import (
	"context"
	"errors"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

type jobsCancelCmd struct {
	IDs []string `arg:"" name:"id" help:"IDs of jobs that haven't ended."`
	daemonFlag
}

// Run cancels jobs. It is a yes if all are, or will be in a moment.
func (c *jobsCancelCmd) Run(ctx context.Context, e *env) error {
	return e.changeJobs(ctx, c.daemonFlag, c.IDs, (*api.Client).Cancel, func(job core.Job) string {
		if job.State == core.JobCancelled {
			return "cancelled"
		}
		return string(job.State) + ", is being stopped"
	})
}

type jobsRetryCmd struct {
	IDs []string `arg:"" name:"id" help:"IDs of jobs that failed or were cancelled."`
	daemonFlag
}

// Run has jobs tried again. It is a yes if all will be.
func (c *jobsRetryCmd) Run(ctx context.Context, e *env) error {
	return e.changeJobs(ctx, c.daemonFlag, c.IDs, (*api.Client).Retry, stateText)
}

// changeJobs does something to each job, also after one that doesn't allow
// it, and tells what they are then.
func (e *env) changeJobs(
	ctx context.Context, daemon daemonFlag, args []string,
	change func(*api.Client, context.Context, string) (core.Job, error), text func(core.Job) string,
) error {
	client, err := daemon.open(e)
	if err != nil {
		return err
	}
	var verdict error
	for _, id := range jobIDs(args) {
		job, err := change(client, ctx, id)
		if err != nil {
			err = e.refusedFor(ctx, client, id, err)
		} else {
			err = e.lines([]string{job.ID + ": " + text(job)})
		}
		switch {
		case errors.Is(err, errNo):
			verdict = err
		case err != nil:
			return err
		}
	}
	return verdict
}
