package inventory_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/inventory"
)

// steady polls without jitter.
func steady(interval time.Duration) inventory.Options {
	opts := options
	opts.Interval, opts.Jitter = interval, 0
	return opts
}

// since turns moments into how long after began they were.
func since(began time.Time, moments []time.Time) []time.Duration {
	var all []time.Duration
	for _, m := range moments {
		all = append(all, m.Sub(began))
	}
	return all
}

func TestANewIntervalCountsFromTheLastPoll(t *testing.T) {
	for _, tc := range []struct {
		name     string
		interval time.Duration
		polls    []time.Duration // within two minutes; the change comes after 45 s
	}{
		{"longer", 50 * time.Second, []time.Duration{0, 30 * time.Second, 80 * time.Second}},
		{"shorter", 20 * time.Second, []time.Duration{0, 30 * time.Second, 50 * time.Second, 70 * time.Second, 90 * time.Second, 110 * time.Second}},
		{"overdue", 10 * time.Second, []time.Duration{
			0, 30 * time.Second, 45 * time.Second, 55 * time.Second, 65 * time.Second,
			75 * time.Second, 85 * time.Second, 95 * time.Second, 105 * time.Second, 115 * time.Second,
		}},
		{"the same", 30 * time.Second, []time.Duration{0, 30 * time.Second, 60 * time.Second, 90 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				g := &target{}
				p := start(t, g, steady(30*time.Second))
				pass(45 * time.Second)
				if err := p.Set(t.Context(), inventory.Change{Options: steady(tc.interval)}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				next := p.Snapshot().NextPoll
				pass(74 * time.Second)
				g.mu.Lock()
				defer g.mu.Unlock()
				if diff := cmp.Diff(tc.polls, since(began, g.lists)); diff != "" {
					t.Error(diff)
				}
				if tc.name != "overdue" && next.Sub(began) != tc.polls[2] {
					t.Errorf("the snapshot said %v", next.Sub(began))
				}
			})
		})
	}
}

func TestAChangeDuringALookWaitsForItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g := &target{behaviour: behaviour{hangs: true}} // for five seconds
		p := start(t, g, steady(30*time.Second))
		pass(time.Second)
		faster := steady(30 * time.Second)
		faster.FastInterval = 10 * time.Second
		if err := p.Set(t.Context(), inventory.Change{Options: faster}); err != nil {
			t.Fatal(err)
		}
		pass(15 * time.Second)
		g.mu.Lock()
		defer g.mu.Unlock()
		if diff := cmp.Diff([]time.Duration{0, 15 * time.Second}, since(began, g.lists)); diff != "" {
			t.Error(diff)
		}
	})
}

// swapped is a backend in whose place another can be put.
type swapped struct{ atomic.Pointer[target] }

func (s *swapped) Probe(ctx context.Context) (string, error) { return s.Load().Probe(ctx) }
func (s *swapped) Models(ctx context.Context, known string) (core.ModelList, error) {
	return s.Load().Models(ctx, known)
}
func (s *swapped) Running(ctx context.Context) ([]core.Resident, error) { return s.Load().Running(ctx) }

func TestAnotherTargetIsAskedAtOnce(t *testing.T) {
	for _, away := range []behaviour{{models: []string{"old:latest"}}, {hangs: true}, {away: refused}} {
		synctest.Test(t, func(t *testing.T) {
			before, after := &target{behaviour: away}, having("new:latest")
			var backend swapped
			backend.Store(before)
			p := startFrom(t, &backend, core.Snapshot{URL: "http://old"}, options)
			pass(time.Minute + 700*time.Millisecond)

			var old int
			change := inventory.Change{Options: options, First: &core.Snapshot{URL: "http://new"}, Swap: func() {
				backend.Store(after)
				old = len(before.lists) + len(before.probes) // nobody asks it any more
			}}
			if err := p.Set(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			s := p.Snapshot()
			if diff := cmp.Diff([]string{"new:latest"}, names(s)); diff != "" || s.Status != core.Healthy || s.URL != "http://new" || s.Failures != 0 {
				t.Errorf("at once after %+v: %s %s after %d failures\n%s", away, s.URL, s.Status, s.Failures, diff)
			}
			pass(time.Minute)
			if now := len(before.lists) + len(before.probes); now != old {
				t.Errorf("the old target was asked %d times since", now-old)
			}
		})
	}
}

// A target that refused foreman's token is asked again with the new one, and
// what was known of it stays.
func TestAnotherBackendForTheSameTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := having("a:latest"), having("a:latest")
		var backend swapped
		backend.Store(before)
		p := startFrom(t, &backend, core.Snapshot{}, options)
		pass(time.Second)
		before.set(func(g *target) { g.away = refused })
		pass(time.Minute)
		if s := p.Snapshot(); s.Status != core.Degraded {
			t.Fatal(s.Status)
		}
		known := p.Snapshot().Inventory
		if err := p.Set(t.Context(), inventory.Change{Options: options, Swap: func() { backend.Store(after) }}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := p.Snapshot(); s.Failures != 0 || s.Inventory != known {
			t.Errorf("at once: %d failures, the same inventory %t", s.Failures, s.Inventory == known)
		}
		pass(2 * time.Second)
		if s := p.Snapshot(); s.Status != core.Healthy {
			t.Errorf("two seconds later: %s", s.Status)
		}
	})
}

func TestAChangeThatComesTooLateChangesNothing(t *testing.T) {
	p := inventory.New(&target{}, core.Snapshot{}, options, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Set(ctx, inventory.Change{Options: options, Swap: func() { t.Error("swapped") }})
	if err == nil {
		t.Error("no error")
	}
}
