package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const (
	deaths      = 500
	worlds      = 5 // that are killed side by side
	between     = 2 // jobs that have to end between two kills
	killTimeout = time.Minute
	pace        = 20 * time.Millisecond // between two submits

	killsConfig = "[poll]\ninterval = \"1s\"\ntimeout = \"500ms\"\nfast_interval = \"100ms\"\ndown_interval = \"100ms\"\n[jobs]\nmax_attempts = 1000\n"
)

// measureDeaths kills foremen, their plugins and their targets at any moment
// while jobs come and run.
func measureDeaths(ctx context.Context, b *bench) ([]figure, error) {
	if !hasProc() {
		return []figure{skipped(fmt.Sprintf("%d kills", deaths), "no /proc here")}, nil
	}
	var sum toll
	group, ctx := errgroup.WithContext(ctx)
	for range worlds {
		group.Go(func() error { return suffer(ctx, b, &sum) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%d kills of foreman, its plugin or its target: ", deaths)
	return []figure{
		unjudged(what+"jobs acknowledged", amount(sum.jobs.Load())),
		unjudged(what+"attempts that were cut off", amount(sum.cut.Load())),
		atMost(what+"jobs lost", amount(sum.lost.Load()), 0),
		atMost(what+"results stored twice, or not byte by byte", amount(sum.doubled.Load()), 0),
		atMost(what+"jobs that didn't end, or failed", amount(sum.unfinished.Load()), 0),
	}, nil
}

// toll is what came of all jobs.
type toll struct{ jobs, cut, lost, doubled, unfinished atomic.Int64 }

// A world is a target, a foreman, and somebody who submits.
type world struct {
	*setup
	address string // of the target
	target  *roleProcess
	daemon  *daemon
	client  *api.Client

	mu   sync.Mutex
	tags map[string]string // of the acknowledged jobs
	seen map[string][]byte // the results of those that were seen done
}

// suffer runs one world through its share of the kills, and adds up.
func suffer(ctx context.Context, b *bench, sum *toll) (err error) {
	w := &world{tags: map[string]string{}, seen: map[string][]byte{}}
	defer w.end()
	if err := w.begin(ctx, b); err != nil {
		return err
	}
	load, stop := context.WithCancel(ctx)
	var submitter sync.WaitGroup
	submitter.Go(func() { w.submit(load) })
	defer func() { stop(); submitter.Wait() }()
	for range deaths / worlds {
		if err := w.await(ctx, len(w.seen)+between); err != nil {
			return fmt.Errorf("after a kill: %w", err)
		}
		if err := w.kill(ctx); err != nil {
			return err
		}
	}
	stop()
	submitter.Wait()
	_ = w.await(ctx, len(w.tags)) // what isn't done by then is counted
	return w.count(ctx, sum)
}

func (w *world) end() {
	if w.daemon != nil {
		w.daemon.stop()
	}
	if w.target != nil {
		w.target.stop()
	}
}

func (w *world) begin(ctx context.Context, b *bench) (err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.address = listener.Addr().String()
	_ = listener.Close()
	if w.target, err = startRole(ctx, "mortal", w.address); err != nil {
		return err
	}
	if w.setup, err = newSetup(b, w.target.url); err != nil {
		return err
	}
	w.parallel = 1
	if err := w.write(killsConfig); err != nil {
		return err
	}
	w.client = api.NewClient(w.listen, "")
	w.daemon, err = w.serve(ctx)
	return err
}

// kill kills one of the three, any time within a job.
func (w *world) kill(ctx context.Context) (err error) {
	if err := sleep(ctx, mathrand.N(50*time.Millisecond)); err != nil {
		return err
	}
	switch mathrand.N(3) {
	case 0:
		_ = w.daemon.cmd.Process.Kill()
		_ = w.daemon.cmd.Wait()
		w.daemon, err = w.serve(ctx)
	case 1:
		var plugins []int
		if plugins, err = childrenOf(w.daemon.cmd.Process.Pid); err == nil && len(plugins) > 0 {
			_ = syscall.Kill(plugins[0], syscall.SIGKILL) // it may have ended just now
		}
	default:
		_ = w.target.cmd.Process.Kill()
		_ = w.target.cmd.Wait()
		w.target, err = startRole(ctx, "mortal", w.address)
	}
	return err
}

// submit submits jobs until ctx ends, each until it is acknowledged.
func (w *world) submit(ctx context.Context) {
	for n := 0; ; n++ {
		tag := fmt.Sprintf("job %d", n)
		request := core.JobRequest{Path: "/api/chat", Body: fmt.Appendf(nil, chatOf, n%2, n, tag), IdempotencyKey: tag}
		for {
			if sleep(ctx, pace) != nil {
				return
			}
			if w.waiting() > 20 {
				continue
			}
			if id, err := w.client.Submit(ctx, request); err == nil {
				w.mu.Lock()
				w.tags[id] = fmt.Sprint(n)
				w.mu.Unlock()
				break
			}
		}
	}
}

func (w *world) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.tags) - len(w.seen)
}

// unseen are the jobs of which no result was seen.
func (w *world) unseen() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.tags {
		if w.seen[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// await waits until so many results were seen.
func (w *world) await(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	for {
		for _, id := range w.unseen() {
			if result, err := w.result(ctx, id); err == nil {
				w.mu.Lock()
				w.seen[id] = result
				w.mu.Unlock()
			}
		}
		if len(w.seen) >= count {
			return nil
		}
		if err := sleep(ctx, pace); err != nil {
			return fmt.Errorf("%d jobs are done, and not %d: %w", len(w.seen), count, err)
		}
	}
}

var errNotDone = errors.New("it isn't done")

// result is what a job that is done answers.
func (w *world) result(ctx context.Context, id string) ([]byte, error) {
	job, err := w.client.Job(ctx, id)
	if err == nil && job.State != core.JobDone {
		err = errNotDone
	}
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	_, err = w.client.Result(ctx, id, &body)
	return body.Bytes(), err
}

// count looks at all jobs once more.
func (w *world) count(ctx context.Context, sum *toll) error {
	for id, tag := range w.tags {
		sum.jobs.Add(1)
		job, err := w.client.Job(ctx, id)
		for _, attempt := range job.Attempts {
			if attempt.Reason != "" {
				sum.cut.Add(1)
			}
		}
		var result []byte
		if err == nil {
			result, err = w.result(ctx, id)
		}
		var refusal *api.Refusal
		switch {
		case errors.As(err, &refusal) && refusal.Status == http.StatusNotFound:
			sum.lost.Add(1)
		case errors.Is(err, errNotDone):
			sum.unfinished.Add(1)
		case err != nil:
			return err
		case !isAnswer(result, tag), w.seen[id] != nil && !bytes.Equal(w.seen[id], result):
			sum.doubled.Add(1)
		}
	}
	return nil
}

// mortalLine is a line of an answer of a mortal target: the tag of the
// request, the answer's own, and the line's number.
type mortalLine struct {
	Tag, Nonce string
	Line       int
	Done       bool `json:"done"`
}

const mortalLines = 10

// isAnswer reports whether body is one whole answer to the tag.
func isAnswer(body []byte, tag string) bool {
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	var first mortalLine
	for i, text := range lines {
		var line mortalLine
		if json.Unmarshal([]byte(text), &line) != nil {
			return false
		}
		if i == 0 {
			first = line
		}
		if line != (mortalLine{tag, first.Nonce, i, i == mortalLines-1}) {
			return false
		}
	}
	return len(lines) == mortalLines
}

// serveMortal is a target on the address in args with two models that load and
// answer in little time; no two answers are alike.
func serveMortal(ctx context.Context, args []string) error {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "model-0", Size: 20 << 30}, {Name: "model-1", Size: 20 << 30}}, Instant: true})
	mux := http.NewServeMux()
	mux.Handle("/", s.Handler())
	mux.HandleFunc("POST /api/chat", func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Model, Tag string }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		s.Load(asked.Model)
		nonce := rand.Text()
		for i := range mortalLines {
			if sleep(r.Context(), 2*time.Millisecond) != nil {
				return
			}
			_ = json.NewEncoder(w).Encode(mortalLine{asked.Tag, nonce, i, i == mortalLines-1})
			_ = http.NewResponseController(w).Flush()
		}
	})
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	return serveOn(ctx, listener, mux)
}
