package jobs

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// longestGap is between two glances of a Run that nothing holds up: it looks
// at the store each few seconds.
const longestGap = time.Minute

// A watch knows since when foreman has watched the target: what that did while
// foreman didn't run, or the machine slept, nobody has seen. Its times are by
// the wall, as the other clock stops in a sleep.
type watch struct {
	mu      sync.Mutex
	since   time.Time            // without a gap
	glance  time.Time            // the last
	retried map[string]time.Time // jobs, until that is too long ago to matter
}

// glances notes that foreman runs, and returns since when it has without a gap.
func (w *watch) glances() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now().Round(0)
	if now.Sub(w.glance).Abs() > longestGap {
		w.since = now
	}
	w.glance = now
	return w.since
}

func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.glance = time.Time{}
}

func (w *watch) retry(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retried[id] = time.Now().Round(0)
}

func (w *watch) forget(before time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.retried, func(_ string, at time.Time) bool { return at.Before(before) })
}

// earliest is the first moment of an outage that may be held against job: it
// was there, the target was watched, and hasn't listed its models since.
func (w *watch) earliest(job core.Job, snapshot *core.Snapshot) time.Time {
	at := w.glances()
	w.mu.Lock()
	retried := w.retried[job.ID]
	w.mu.Unlock()
	for _, later := range []time.Time{job.CreatedAt, retried, snapshot.LastSuccess} {
		if later.After(at) {
			at = later
		}
	}
	return at
}

// outwait fails those of the jobs that have waited too long for a target that
// is away.
func (l *loop) outwait(ctx context.Context, opts *Options, snapshot *core.Snapshot, waiting []core.Job) {
	problem := "nobody knows why"
	if fault := snapshot.LastPoll.Fault; fault != nil {
		problem = fault.Detail
	}
	for _, job := range waiting {
		if ctx.Err() != nil {
			return
		}
		if l.held(job.ID) { // a retry that the watch may not know yet
			continue
		}
		if time.Now().Round(0).Sub(l.watch.earliest(job, snapshot)) >= opts.MaxAge {
			l.fail(job.ID, outwaited(opts, problem))
		}
	}
}

func outwaited(opts *Options, problem string) string {
	return fmt.Sprintf("the target has been away for %s: %s", opts.MaxAge, problem)
}

// awaySince is since when the target has been away, as far as job's attempts
// tell. Of those that it ends with, all at an away target and none over before
// earliest, it is when the first one ended; now if there are none. A job that
// remembers nothing else may have had more of them: then it is earliest.
func awaySince(job core.Job, now, earliest time.Time) time.Time {
	since := now
	for i := len(job.Attempts) - 1; i >= 0; i-- {
		a := job.Attempts[i]
		if a.Counts || !unreachable(a.Reason) || a.EndedAt.Before(earliest) {
			return since
		}
		since = a.EndedAt
	}
	if len(job.Attempts) >= MostAttempts {
		return earliest
	}
	return since
}

// unreachable reports whether a reason for no whole answer says that the
// target wasn't there to give one.
func unreachable(r core.Reason) bool {
	switch r {
	case core.ReasonRefused, core.ReasonTimeout, core.ReasonReset, core.ReasonNoRoute, core.ReasonDNS, core.ReasonTLS, core.ReasonPlugin:
		return true
	default:
		return false
	}
}
