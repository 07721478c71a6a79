package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

type jobsWaitCmd struct {
	IDs []string `arg:"" name:"id" help:"IDs of jobs; their answers are printed in this order."`
	daemonFlag
	answerFlags
}

// answerFlags say how answers are waited for and printed.
type answerFlags struct {
	Raw     bool          `help:"Print an answer byte for byte as the target sent it; else its text is printed."`
	Stream  bool          `help:"Print an answer as it comes, also where stdout is no terminal. One that begins anew in the middle, as after a crash, is then printed anew."`
	Timeout time.Duration `help:"Wait no longer than this." placeholder:"10m"`
}

// Validate implements kong's interface.
func (f answerFlags) Validate() error {
	if f.Timeout < 0 {
		return fmt.Errorf("--timeout is %s, below 0", f.Timeout)
	}
	return nil
}

// Run waits for jobs. It is a yes if all are done.
func (c *jobsWaitCmd) Run(ctx context.Context, e *env) error {
	client, err := c.open(e)
	if err != nil {
		return err
	}
	return c.waiter(e, client).await(ctx, client, jobIDs(c.IDs))
}

// jobDaemon is what waiting needs of an [api.Client].
type jobDaemon interface {
	JobEvents(ctx context.Context, id string) iter.Seq2[core.JobNews, error]
	Result(ctx context.Context, id string, to io.Writer) (status int, err error)
}

// A waiter waits for one job at a time.
type waiter struct {
	*env
	answerFlags
	daemon   jobDaemon
	screen   bool // stdout is one
	several  bool // jobs are waited for
	progress progress
	heard    bool // from the daemon, once
	away     bool // the daemon is, and that has been told

	job      core.Job // as it was last told
	answered int      // bytes of its answer
	answer   *answer  // nil until it is to be printed
}

func (f answerFlags) waiter(e *env, client *api.Client) *waiter {
	w := &waiter{env: e, answerFlags: f, daemon: client, screen: e.isTerminal()}
	if e.obeysEscapes(e.stderr) {
		w.progress.to = e.stderr
	}
	return w
}

// await prints the answers of jobs, one after the other. After one that has
// none it goes on, and says no in the end.
func (w *waiter) await(ctx context.Context, client *api.Client, ids []string) error {
	if w.Timeout > 0 {
		bounded, cancel := context.WithTimeout(ctx, w.Timeout)
		defer cancel()
		ctx = bounded
	}
	w.several = len(ids) > 1
	var verdict error
	for _, id := range ids {
		err := w.wait(ctx, id)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%w what becomes of job %s: after %s it is still %s", errCantTell, id, w.Timeout, cmp.Or(w.job.State, "unknown"))
		}
		if err != nil && !errors.Is(err, errNo) {
			err = w.refusedFor(ctx, client, id, err)
		}
		if err != nil && !errors.Is(err, errNo) {
			return err
		}
		verdict = errors.Join(verdict, err)
	}
	return verdict
}

// wait returns once the job has ended and its answer has been printed: errNo,
// and why has been told, unless it is done. A daemon that goes away is asked
// again.
func (w *waiter) wait(ctx context.Context, id string) error {
	defer w.progress.clear()
	w.job, w.answered, w.answer = core.Job{}, 0, nil
	for {
		err := w.follow(ctx, id)
		if err == nil {
			err = w.finish(ctx)
		}
		switch {
		case err == nil, errors.Is(err, errNo):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !w.passes(err):
			return err
		case !w.away:
			w.away = true
			w.progress.clear()
			w.warn("%v; it is asked again", err)
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passes reports whether err may be another one, or none, in a moment. A first
// answer that fails is final, so that nobody waits for a wrong address.
func (w *waiter) passes(err error) bool {
	if refusal, ok := errors.AsType[*api.Refusal](err); ok {
		return refusal.Status == http.StatusTooManyRequests || w.heard && refusal.Status >= http.StatusInternalServerError
	}
	return w.heard && errors.Is(err, api.ErrNoDaemon)
}

// follow returns once the job has ended.
func (w *waiter) follow(ctx context.Context, id string) error {
	ctx, cancel := context.WithCancel(ctx)
	news := api.ListenTo(ctx, w.daemon.JobEvents(ctx, id))
	defer func() {
		cancel()
		for range news { // until its goroutine has ended
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		switch {
		case w.answer != nil && w.screen: // it is where the answer is
		case w.away:
			w.progress.draw("waiting for the daemon")
		default:
			w.progress.draw(progressText(w.job, w.answered, time.Now()))
		}
		select {
		case n, more := <-news:
			if !more {
				return cmp.Or(ctx.Err(), api.ErrNoDaemon)
			}
			if err := w.take(n); err != nil || w.job.State.Ended() {
				return err
			}
		case <-tick.C:
		}
	}
}

func (w *waiter) take(n api.News) error {
	if n.Err != nil {
		return n.Err
	}
	w.heard, w.away = true, false
	if n.Job != nil {
		if w.several && w.job.ID == "" {
			w.progress.clear()
			w.say("job %s", n.Job.ID)
		}
		w.job = *n.Job
		return nil
	}
	if n.Offset == 0 {
		w.answered = 0
	}
	w.answered += len(n.Chunk)
	if !w.Stream && !w.screen {
		return nil
	}
	if n.Offset == 0 {
		w.begin()
	}
	_, err := w.answer.Write(n.Chunk)
	return err
}

// finish prints what there is to print of a job that has ended.
func (w *waiter) finish(ctx context.Context) error {
	switch {
	case w.job.State == core.JobDone:
		w.begin()
		if _, err := w.daemon.Result(ctx, w.job.ID, w.answer); err != nil {
			return err
		}
		return w.answer.end()
	case w.answer != nil:
		if err := w.answer.endLine(); err != nil {
			return err
		}
	}
	w.progress.clear()
	if w.job.State == core.JobCancelled {
		return w.no(fmt.Errorf("job %s was cancelled", w.job.ID))
	}
	return w.no(fmt.Errorf("job %s failed: %s", w.job.ID, w.job.Error))
}

// begin is before the first bytes of an answer, of each attempt and each time
// that the daemon tells it.
func (w *waiter) begin() {
	if w.answer == nil {
		w.answer = newAnswer(w)
	}
	w.answer.begin()
}
