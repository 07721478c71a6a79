package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/jobs"
	"github.com/seed-af7fee88/foreman/core/jobs/riverstore"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// uiPrefix is where River's pages are.
const uiPrefix = "/jobs/ui"

// line gives callers and jobs their turns, all by one scheduler.
type line struct {
	scheduler *sched.Scheduler
	calls     atomic.Uint64 // numbers callers' requests
}

// acquire waits for the turn of a caller on the line.
func (l *line) acquire(ctx context.Context, model, caller string) (core.Turn, error) {
	turn, err := l.scheduler.Acquire(ctx, sched.Request{
		ID: "call " + strconv.FormatUint(l.calls.Add(1), 10), Model: core.NameOf(model), Name: model, Caller: caller,
		Interactive: true, Arrived: time.Now(),
	})
	if err != nil {
		return nil, err
	}
	return turn, nil
}

// queue is the scheduler's board as GET /queue shows it.
func (l *line) queue() api.Queue {
	board := l.scheduler.Board()
	entries := func(requests []sched.Request) (all []api.QueueEntry) {
		for _, r := range requests {
			e := api.QueueEntry{Model: r.Name, Caller: r.Caller, Priority: r.Priority, ArrivedAt: r.Arrived.UTC().Truncate(time.Millisecond)}
			if !r.Interactive {
				e.Job = r.ID
			}
			all = append(all, e)
		}
		return all
	}
	queue := api.Queue{Running: entries(board.Running), Waiting: entries(board.Waiting), Swaps: board.Swaps}
	if !board.Idle.IsZero() {
		until := board.Idle.UTC().Truncate(time.Millisecond)
		queue.IdleUntil = &until
	}
	if turn := cmp.Or(board.Swapping, board.Turn); turn != (core.ModelName{}) {
		queue.Model = turn.String()
	}
	return queue
}

// A store is kept jobs, and the pages that show them.
type store struct {
	*riverstore.Store
	pages http.Handler
}

// openStore opens the jobs in dir. foreman does its other work without them if
// it can't, and says why there are none.
func openStore(dir string, log *slog.Logger) (*store, error) {
	opened, err := riverstore.Open(dir, log)
	if err == nil {
		var pages http.Handler
		if pages, err = opened.UI(uiPrefix, log); err == nil {
			return &store{opened, pages}, nil
		}
		err = errors.Join(err, opened.Close())
	}
	log.Warn("no jobs are kept", "error", err)
	return nil, err
}

func (d *Daemon) closeStore() {
	if err := d.store.Close(); err != nil {
		d.log.Warn("the job store wasn't closed well", "error", err)
	}
}

// resident is what was last seen in the target's memory, and since when at
// least that is so.
func (d *Daemon) resident() ([]core.Resident, time.Time) {
	snapshot := d.poller.Snapshot()
	if snapshot.Residency == nil {
		return nil, time.Time{}
	}
	return snapshot.Residency.Models, snapshot.ResidencyFrom
}

// acquireFor waits for the turn of a job. It is that of the model which a
// caller's request by the same name would wait for.
func (d *Daemon) acquireFor(ctx context.Context, t jobs.Ticket) (core.Turn, error) {
	model, queues := d.server.Place(t.Name)
	if !queues {
		return new(sched.Turn), nil
	}
	turn, err := d.line.scheduler.Acquire(ctx, sched.Request{
		ID: t.ID, Model: core.NameOf(model), Name: t.Name, Caller: t.Caller, Priority: t.Priority, Arrived: t.Arrived,
	})
	if err != nil {
		return nil, err
	}
	return turn, nil
}

// do runs a job on the target.
func (d *Daemon) do(ctx context.Context, work core.Work, sink core.Sink) error {
	return d.server.Do(ctx, work, sink)
}

// probe asks the target for a sign of life.
func (d *Daemon) probe(ctx context.Context) error {
	_, err := d.backend.Probe(ctx)
	return err
}

// find looks for a job's model once more.
func (d *Daemon) find(ctx context.Context, model string) error { return d.server.Find(ctx, model) }

// callback brings an event to the webhook of a job.
func (d *Daemon) callback(ctx context.Context, url string, event core.Event) error {
	var data map[string]any
	if err := json.Unmarshal(event.Data, &data); err != nil {
		return fmt.Errorf("%w: %w", core.ErrUndeliverable, err)
	}
	data[core.WebhookField] = url
	var err error
	if event.Data, err = json.Marshal(data); err != nil {
		return fmt.Errorf("%w: %w", core.ErrUndeliverable, err)
	}
	return d.callbacks.Notify(ctx, event)
}
