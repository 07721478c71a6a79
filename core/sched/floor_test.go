package sched_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is what a scheduler asks. It holds one model in memory, the last that
// ran, unless a test says otherwise.
type target struct {
	mu     sync.Mutex
	memory []core.Resident
	seen   []core.Resident // by the last poll
	seenAt time.Time
	slow   time.Duration // to answer a look
	err    error         // to answer it with
	looks  int
}

func (g *target) hold(models ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.memory = nil
	for _, m := range models {
		g.memory = append(g.memory, core.Resident{Name: m})
	}
}

// poll makes what is in memory the snapshot's.
func (g *target) poll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.seenAt = g.memory, time.Now()
}

func (g *target) resident() ([]core.Resident, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen, g.seenAt
}

func (g *target) confirm(ctx context.Context) ([]core.Resident, error) {
	g.mu.Lock()
	g.looks++
	memory, slow, err := g.memory, g.slow, g.err
	g.mu.Unlock()
	select {
	case <-time.After(slow):
		return memory, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var usual = sched.Options{
	Rules:      sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute, Linger: 20 * time.Second},
	MaxWaiting: 256,
}

// floor is a scheduler at work, and who has a turn on it.
type floor struct {
	*testing.T
	*sched.Scheduler
	target *target
	stop   func() // and waits for the end of Run

	mu    sync.Mutex
	turns map[string]*sched.Turn
	order []string // of loads and starts: "load a", "a1", "a2: the error"
}

// onFloor runs test in a bubble.
func onFloor(t *testing.T, opts sched.Options, test func(*floor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &target{}
		f := &floor{T: t, target: g, turns: map[string]*sched.Turn{}}
		f.Scheduler = sched.New(sched.Deps{Resident: g.resident, Confirm: g.confirm}, opts, slog.New(slog.NewTextHandler(f, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Scheduler.Run(ctx) }()
		stop := sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		f.stop = stop
		defer stop()
		test(f)
	})
}

// call asks for a turn of the model that id begins with, and returns what
// makes its caller leave.
func (f *floor) call(id string, words ...string) (leave func()) {
	f.Helper()
	r := request(f.T, append([]string{id}, words...), time.Now())
	ctx, cancel := context.WithCancel(f.Context())
	go func() {
		turn, err := f.Acquire(ctx, r)
		f.mu.Lock()
		defer f.mu.Unlock()
		if err != nil {
			id += ": " + err.Error()
		}
		f.order = append(f.order, id)
		f.turns[r.ID] = turn
	}()
	synctest.Wait()
	return func() {
		cancel()
		synctest.Wait()
	}
}

// turn is that of id, once what had to happen has.
func (f *floor) turn(id string) *sched.Turn {
	f.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.turns[id] == nil {
		f.Fatalf("%s has no turn; there were %v", id, f.order)
	}
	return f.turns[id]
}

func (f *floor) done(ids ...string) {
	f.Helper()
	for _, id := range ids {
		f.turn(id).Done()
	}
	synctest.Wait()
}

// Write takes a line of the log.
func (f *floor) Write(line []byte) (int, error) {
	if _, to, swaps := strings.Cut(string(line), " to="); swaps {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.order = append(f.order, "load "+to[:1])
	}
	return len(line), nil
}

// went checks the order of all loads and starts so far.
func (f *floor) went(want string) {
	f.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := strings.Join(f.order, ", "); got != want {
		f.Fatalf("there were %s; want %s", got, want)
	}
}
