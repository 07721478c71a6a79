package jobs_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A room is a service with all that it works with. Its Run goes on until stop.
type room struct {
	*jobs.Jobs
	t     *testing.T
	store *memory
	deps  jobs.Deps
	log   logged
	stop  func() // ends Run, and returns when it has

	*target
	turns *turns

	told sync.Mutex
	news []core.Event
}

var options = jobs.Options{Parallel: 1, MaxAttempts: 3, MaxRun: 2 * time.Hour, MaxAge: 24 * time.Hour, TTL: 24 * time.Hour, MaxQueued: 1000}

// open is a room whose target has the models a, b and c. change may be nil.
func open(t *testing.T, change func(*room, *jobs.Options)) *room {
	r := &room{t: t, store: newMemory(), target: newTarget(), turns: newTurns()}
	r.deps = jobs.Deps{
		Store: r.store, Node: "n", Acquire: r.turns.acquire, Do: r.do, Probe: r.probe, Find: r.find, Target: r.watch,
		Tell: func(e core.Event) {
			r.told.Lock()
			defer r.told.Unlock()
			r.news = append(r.news, e)
		},
	}
	opts := options
	if change != nil {
		change(r, &opts)
	}
	r.Jobs = jobs.New(r.deps, opts, slog.New(slog.NewTextHandler(&r.log, nil)))
	r.run()
	return r
}

func (r *room) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
		r.stop = func() {}
	}
	r.t.Cleanup(func() { r.stop() })
}

// restart ends Run, and begins another with other deps.
func (r *room) restart(change func(deps *jobs.Deps)) {
	r.stop()
	change(&r.deps)
	r.again()
}

// kill ends Run as kill -9 would: the store sees nothing of it.
func (r *room) kill() {
	r.store.breaks(func(string) error { return fmt.Errorf("killed") })
	r.stop()
	r.store.breaks(nil)
}

// again is a foreman that is started after this one, on the same store.
func (r *room) again() {
	r.Jobs = jobs.New(r.deps, options, slog.New(slog.NewTextHandler(&r.log, nil)))
	r.run()
}

// turns gives the oldest job its turn, a moment after it has come: jobs that
// come together may come in any order.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting []string
	models  map[string]core.ModelName // of those
	came    map[string]int            // tickets, by job
	failed  int                       // turns that were given back so
	news    chan struct{}             // closes when free or waiting change
}

func newTurns() *turns {
	return &turns{free: 1, models: map[string]core.ModelName{}, came: map[string]int{}, news: make(chan struct{})}
}

func (q *turns) change(do func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	do()
	close(q.news)
	q.news = make(chan struct{})
}

func (q *turns) take() { q.change(func() { q.free-- }) }
func (q *turns) give() { q.change(func() { q.free++ }) }

func (q *turns) acquire(ctx context.Context, ticket jobs.Ticket) (core.Turn, error) {
	q.change(func() {
		q.waiting = append(q.waiting, ticket.ID)
		q.models[ticket.ID] = core.NameOf(ticket.Name)
		q.came[ticket.ID]++
	})
	leave := func() { q.waiting = slices.DeleteFunc(q.waiting, func(id string) bool { return id == ticket.ID }) }
	if err := wait(ctx, time.Millisecond); err != nil {
		q.change(leave)
		return nil, err
	}
	for {
		q.mu.Lock()
		news, mine := q.news, q.free > 0 && slices.Min(q.waiting) == ticket.ID
		q.mu.Unlock()
		if mine {
			t := &turn{turns: q}
			q.change(func() {
				q.free--
				leave()
				t.more = slices.ContainsFunc(q.waiting, func(id string) bool { return q.models[id] == core.NameOf(ticket.Name) })
			})
			return t, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			q.change(leave)
			return nil, ctx.Err()
		}
	}
}

type turn struct {
	turns *turns
	more  bool
	once  sync.Once
}

func (t *turn) More() bool { return t.more }
func (t *turn) Done()      { t.once.Do(t.turns.give) }
func (t *turn) Failed() {
	t.turns.change(func() { t.turns.failed++ })
	t.Done()
}

// submit keeps a job for model, and returns its ID.
func (r *room) submit(model string, change ...func(*core.JobRequest)) string {
	r.t.Helper()
	request := core.JobRequest{Path: "/api/chat", Model: model, Body: []byte(`{"model":"` + model + `"}`)}
	for _, c := range change {
		c(&request)
	}
	job, known, err := r.Submit(r.t.Context(), request)
	if err != nil || known {
		r.t.Fatalf("Submit: known %t, %v", known, err)
	}
	return job.ID
}

func (r *room) get(id string) core.Job {
	r.t.Helper()
	job, err := r.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatalf("Get: %v", err)
	}
	return job
}

func (r *room) expect(id string, want core.JobState) core.Job {
	r.t.Helper()
	job := r.get(id)
	if job.State != want {
		r.t.Errorf("the job is %s, want %s: %+v\n%s", job.State, want, job, &r.log)
	}
	return job
}

// life is what was told of a job: the states that it came to.
func (r *room) life(id string) string {
	r.told.Lock()
	defer r.told.Unlock()
	var states []string
	for _, e := range r.news {
		if strings.Contains(string(e.Data), id) {
			states = append(states, strings.TrimPrefix(string(e.Type), "job_"))
		}
	}
	return strings.Join(states, " ")
}

// A target answers as it is told to.
type target struct {
	mu         sync.Mutex
	snapshot   *core.Snapshot
	superseded chan struct{}
	models     []string
	missing    func(model string) error // of Find
	answer     func(ctx context.Context, work core.Work, sink core.Sink) error
	sign       func(ctx context.Context) error // of life
	works      []core.Work
	at         []time.Time // when each came
	running    int
	most       int // that ran at a time
}

func newTarget() *target {
	g := &target{superseded: make(chan struct{}), answer: says(200, `{"done":true}`), models: []string{"a", "b", "c"}}
	g.sign = func(context.Context) error { return nil }
	g.missing = func(model string) error {
		return missing(fmt.Sprintf("model '%s' not found; pull it", model))
	}
	g.looks(core.Healthy)
	return g
}

// missing is what Find says of a model that isn't installed.
type missing string

func (m missing) Error() string      { return string(m) }
func (missing) Is(target error) bool { return target == core.ErrNotInstalled }

// says answers with body after a second.
func says(status int, body string) func(context.Context, core.Work, core.Sink) error {
	return func(ctx context.Context, _ core.Work, sink core.Sink) error {
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
		sink.Begin(status, "application/json")
		_, err := sink.Write([]byte(body))
		return err
	}
}

// wait is time.Sleep, until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var refused = &core.Fault{Reason: core.ReasonRefused, Detail: "connection refused"}

func away(context.Context, core.Work, core.Sink) error { return refused }

// answers replaces the answer, and forgets what came before.
func (g *target) answers(answer func(context.Context, core.Work, core.Sink) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer, g.works, g.at = answer, nil, nil
}

func (g *target) do(ctx context.Context, work core.Work, sink core.Sink) error {
	g.mu.Lock()
	work.Body = bytes.Clone(work.Body)
	g.works, g.at = append(g.works, work), append(g.at, time.Now())
	g.running++
	g.most = max(g.most, g.running)
	answer := g.answer
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.running--
		g.mu.Unlock()
	}()
	return answer(ctx, work, sink)
}

// gives replaces the sign of life.
func (g *target) gives(sign func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sign = sign
}

func (g *target) probe(ctx context.Context) error {
	g.mu.Lock()
	sign := g.sign
	g.mu.Unlock()
	return sign(ctx)
}

// came is what the target was asked, by the model.
func (g *target) came() (list []core.Work, at []time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.works), slices.Clone(g.at)
}

func (g *target) find(ctx context.Context, model string) error {
	g.mu.Lock()
	known, missing := slices.Contains(g.models, model), g.missing
	g.mu.Unlock()
	if err := wait(ctx, 100*time.Millisecond); err != nil || known {
		return err
	}
	return missing(model)
}

func (g *target) watch() (*core.Snapshot, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.snapshot, g.superseded
}

// looks publishes what a look brings that begins now. has are the models that
// are installed from now on; none means the same as before.
func (g *target) looks(status core.Status, has ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(has) > 0 {
		g.models = has
	}
	s := core.Snapshot{Status: status, URL: "http://a:1", LastPoll: core.Poll{At: time.Now()}}
	var models []core.Model
	for _, name := range g.models {
		models = append(models, core.Model{Name: name + ":latest", Raw: []byte(`{}`)})
	}
	s.Inventory = core.NewInventory(models, "")
	s.InventoryAt, s.LastSuccess = s.LastPoll.At, s.LastPoll.At
	if status == core.Degraded {
		s.LastPoll.Fault = refused
		s.InventoryAt, s.LastSuccess = g.snapshot.InventoryAt, g.snapshot.LastSuccess
	}
	g.snapshot = &s
	close(g.superseded)
	g.superseded = make(chan struct{})
}

// logged is what the service writes to its log.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// after lets that much time pass, and all happen that is due.
func after(d time.Duration) {
	time.Sleep(d) // in the bubble
	synctest.Wait()
}
