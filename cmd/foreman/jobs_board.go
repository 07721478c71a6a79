package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// queueOf is the daemon's queue, or nil if it has none.
func queueOf(ctx context.Context, client *api.Client) (*api.Queue, error) {
	queue, err := client.Queue(ctx)
	if refusal, ok := errors.AsType[*api.Refusal](err); ok && refusal.Status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &queue, nil
}

// boardFields are who runs, who is next and what that costs.
func boardFields(q api.Queue) []field {
	return []field{
		{label: "running", value: runningText(q)},
		{label: "next", value: orNothing(strings.Join(turns(q.Waiting), ", "))},
		{label: "swaps", value: fmt.Sprintf("%d to come", q.Swaps)},
		{label: "jobs", value: orNothing(countsText(q.Jobs))},
	}
}

func runningText(q api.Queue) string {
	var who []string
	for _, r := range q.Running {
		who = append(who, entryText(r))
	}
	if q.Loading && len(who) == 0 {
		who = []string{q.Model}
	}
	text := orNothing(strings.Join(who, ", "))
	switch {
	case q.Loading:
		text += ", being loaded"
	case q.IdleUntil != nil:
		text += ": " + idleText(q)
	}
	return text
}

// idleText says why nothing runs though something waits.
func idleText(q api.Queue) string {
	return fmt.Sprintf("until %s the next request for %s is waited for", q.IdleUntil.Local().Format(time.TimeOnly), q.Model)
}

func entryText(entry api.QueueEntry) string {
	switch {
	case entry.Job != "":
		return entry.Model + " for job " + entry.Job
	case entry.Caller != "":
		return entry.Model + " for " + entry.Caller
	default:
		return entry.Model + " for a caller"
	}
}

// turns are the models in the order to come. One comes again if another has
// its turn in between.
func turns(waiting []api.QueueEntry) []string {
	var names []string
	for _, entry := range waiting {
		if len(names) == 0 || core.NameOf(names[len(names)-1]) != core.NameOf(entry.Model) {
			names = append(names, entry.Model)
		}
	}
	return names
}

func countsText(counts map[core.JobState]int) string {
	var parts []string
	for _, state := range core.JobStates() {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
