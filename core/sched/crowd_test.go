package sched_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// hall is what runs on the target of a crowd.
type hall struct {
	*target
	mu      sync.Mutex
	model   core.ModelName
	running int
	most    int // at once
}

// enter checks that r may run beside what does.
func (h *hall) enter(t *testing.T, r sched.Request, parallel int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running > 0 && h.model != r.Model {
		t.Errorf("%s runs beside %d of %s", r.ID, h.running, h.model)
	}
	h.model = r.Model
	h.running++
	h.most = max(h.most, h.running)
	if h.running > parallel {
		t.Errorf("%s is the %dth at once", r.ID, h.running)
	}
	h.hold(r.Model.String())
}

func (h *hall) exit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running--
}

// Whole seconds only, so that callers leave in the very moment of their turn,
// of its end, or of a look's.
func TestACrowd(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			opts := usual
			opts.Parallel = 1 + int(seed%3)
			opts.MaxStint = 30 * time.Second
			onFloor(t, opts, func(f *floor) {
				h := &hall{target: f.target}
				var all sync.WaitGroup
				for i := range 60 {
					random := rand.New(rand.NewPCG(seed, uint64(i)))
					all.Go(func() {
						for n := range 15 {
							f.visit(h, random, fmt.Sprintf("%c-%d-%d", "abcd"[random.IntN(4)], i, n), opts)
						}
					})
				}
				all.Wait()
				if h.most != opts.Parallel {
					t.Errorf("%d ran at once at most", h.most)
				}
				for _, id := range []string{"a1", "b1", "c1", "d1"} { // no turn was lost
					f.call(id)
					time.Sleep(time.Minute)
					f.done(id)
				}
			})
		})
	}
}

// visit comes, waits for as long as it likes to, and runs.
func (f *floor) visit(h *hall, random *rand.Rand, id string, opts sched.Options) {
	second := func(n int) time.Duration { return time.Duration(random.IntN(n)) * time.Second }
	time.Sleep(second(200))
	ctx, cancel := f.Context(), func() {}
	patient := random.IntN(3) > 0
	if !patient {
		ctx, cancel = context.WithTimeout(ctx, second(60))
	}
	defer cancel()
	r := request(f.T, []string{id}, time.Now())
	r.Priority, r.Interactive = core.Priority(random.IntN(3)-1), random.IntN(2) > 0
	turn, err := f.Acquire(ctx, r)
	if wait := time.Since(r.Arrived); wait > time.Hour {
		f.Errorf("%s waited for %s", id, wait)
	}
	if err != nil {
		if patient || !errors.Is(err, context.DeadlineExceeded) {
			f.Errorf("%s: %v", id, err)
		}
		return
	}
	h.enter(f.T, r, opts.Parallel)
	time.Sleep(second(8))
	h.exit()
	if random.IntN(9) == 0 {
		turn.Failed()
	} else {
		turn.Done()
	}
}

func BenchmarkIdle(b *testing.B) {
	g := &target{}
	g.hold("a")
	g.poll()
	s := sched.New(sched.Deps{Resident: g.resident, Confirm: g.confirm}, usual, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	model, err := core.ParseModelName("a")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		turn, err := s.Acquire(ctx, sched.Request{ID: "a1", Model: model, Interactive: true, Arrived: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		turn.Done()
	}
	cancel()
	<-ended
}
