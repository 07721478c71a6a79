package inventory_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/inventory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var options = inventory.Options{
	Interval: 30 * time.Second, Jitter: 0.1, Timeout: 5 * time.Second,
	FastInterval: 2 * time.Second, DownInterval: time.Second,
	Thresholds: core.Thresholds{Fall: 3, Rise: 2},
}

// target is a backend whose target can be taken away.
type target struct {
	mu sync.Mutex
	behaviour
	lists  []time.Time // when Models was called
	probes []time.Time // when Probe was called
}

type behaviour struct {
	models  []string
	version int         // of models, as the fingerprint
	away    *core.Fault // fails every call
	psAway  *core.Fault // fails Running
	hangs   bool        // calls end with their context
}

// having is a target with these models installed.
func having(models ...string) *target { return &target{behaviour: behaviour{models: models}} }

func (g *target) set(change func(*target)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

func (g *target) install(names ...string) {
	g.set(func(g *target) { g.models, g.version = names, g.version+1 })
}

// meet notes the call and returns how the target takes it.
func (g *target) meet(ctx context.Context, calls *[]time.Time) (behaviour, error) {
	g.mu.Lock()
	*calls = append(*calls, time.Now())
	now := g.behaviour
	g.mu.Unlock()
	if now.hangs {
		<-ctx.Done()
		return now, &core.Fault{Reason: core.ReasonTimeout, Detail: ctx.Err().Error()}
	}
	if now.away != nil {
		return now, now.away
	}
	return now, nil
}

func (g *target) Probe(ctx context.Context) (string, error) {
	_, err := g.meet(ctx, &g.probes)
	return "0.17.4", err
}

func (g *target) Models(ctx context.Context, known string) (core.ModelList, error) {
	now, err := g.meet(ctx, &g.lists)
	if err != nil {
		return core.ModelList{}, err
	}
	list := core.ModelList{Fingerprint: fmt.Sprint(now.version)}
	if list.Unchanged = known == list.Fingerprint; list.Unchanged {
		return list, nil
	}
	for _, name := range now.models {
		list.Models = append(list.Models, core.Model{Name: name, Raw: fmt.Appendf(nil, `{"name":%q}`, name)})
	}
	return list, nil
}

func (g *target) Running(ctx context.Context) ([]core.Resident, error) {
	var ignored []time.Time
	now, err := g.meet(ctx, &ignored)
	if err == nil && now.psAway != nil {
		err = now.psAway
	}
	return nil, err
}

// start runs a poller in the bubble until the test ends.
func start(t *testing.T, g *target, opts inventory.Options) *inventory.Poller {
	return startFrom(t, g, core.Snapshot{}, opts)
}

// startFrom does so with what was known before.
func startFrom(t *testing.T, g inventory.Backend, first core.Snapshot, opts inventory.Options) *inventory.Poller {
	p := inventory.New(g, first, opts, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return p
}

func names(s *core.Snapshot) []string {
	if s.Inventory == nil {
		return nil
	}
	var names []string
	for _, m := range s.Inventory.Models {
		names = append(names, m.Name)
	}
	return names
}

// pass lets virtual time go by, and the poller settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var refused = &core.Fault{Reason: core.ReasonRefused, Detail: "GET http://target/api/tags: connection refused"}

func TestPollsAtOnceAndThenEveryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		synctest.Wait()
		if s := p.Snapshot(); s.Status != core.Healthy || !slices.Equal(names(s), g.models) || s.Version != "0.17.4" {
			t.Fatalf("after the first poll: %s, %v, version %q", s.Status, names(s), s.Version)
		}
		pass(time.Hour)
		var shortest, longest time.Duration = time.Hour, 0
		for i := 1; i < len(g.lists); i++ {
			gap := g.lists[i].Sub(g.lists[i-1])
			shortest, longest = min(shortest, gap), max(longest, gap)
		}
		if shortest < 27*time.Second || longest > 33*time.Second {
			t.Errorf("polls were %v to %v apart, want 30s ± 10%%", shortest, longest)
		}
		if longest-shortest < time.Second {
			t.Errorf("polls were %v to %v apart: no jitter", shortest, longest)
		}
		if n := len(g.lists); n < 110 || n > 132 {
			t.Errorf("%d polls in an hour", n)
		}
	})
}

func TestOneFailedPollChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("a:1", "b:1")
		p := start(t, g, options)
		synctest.Wait()
		before := p.Snapshot()
		g.set(func(g *target) { g.away = refused })
		for p.Snapshot().Failures == 0 {
			pass(time.Second)
		}
		s := p.Snapshot()
		if s.Status != core.Healthy || s.Inventory != before.Inventory {
			t.Errorf("after one failure: %s, %v", s.Status, names(s))
		}
		if !s.InventoryStale() || s.LastPoll.Fault.Reason != core.ReasonRefused {
			t.Errorf("stale %t, fault %v; want it told", s.InventoryStale(), s.LastPoll.Fault)
		}
		g.set(func(g *target) { g.away = nil })
		pass(2 * time.Second)
		if s := p.Snapshot(); s.Failures != 0 || s.InventoryStale() || s.LastPoll.Fault != nil {
			t.Errorf("2 s later: %d failures, stale %t, %v", s.Failures, s.InventoryStale(), s.LastPoll.Fault)
		}
	})
}

func TestAwayTargetDegradesAndComesBackWithinTwoSeconds(t *testing.T) {
	ways := map[string]func(*target){
		"refused": func(g *target) { g.away = refused },
		"frozen":  func(g *target) { g.hangs = true },
	}
	within := map[string]time.Duration{ // a poll is due at 33 s at the latest
		"refused": 33*time.Second + 2*2*time.Second,
		"frozen":  33*time.Second + 3*5*time.Second + 2*2*time.Second,
	}
	for way, leave := range ways {
		// Whatever moment of the probe's rhythm it comes back at.
		for offset := time.Duration(0); offset < 1200*time.Millisecond; offset += 170 * time.Millisecond {
			t.Run(fmt.Sprint(way, " ", offset), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := having("tiny:latest")
					p := start(t, g, options)
					synctest.Wait()
					g.set(leave)
					pass(within[way])
					if s := p.Snapshot(); s.Status != core.Degraded || !slices.Equal(names(s), g.models) {
						t.Fatalf("after %v away: %s, %v", within[way], s.Status, names(s))
					}
					pass(time.Hour + offset)
					g.set(func(g *target) { g.away, g.hangs = nil, false })
					g.install("tiny:latest", "new:latest")
					pass(2 * time.Second)
					if s := p.Snapshot(); s.Status != core.Healthy || len(names(s)) != 2 || s.InventoryStale() {
						t.Errorf("2 s after it is back: %s, %v, stale %t", s.Status, names(s), s.InventoryStale())
					}
				})
			})
		}
	}
}

func TestDegradedTargetIsOnlyProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		synctest.Wait()
		g.set(func(g *target) { g.away = refused })
		pass(time.Minute)
		if p.Snapshot().Status != core.Degraded {
			t.Fatal("not degraded after a minute")
		}
		g.set(func(g *target) { g.lists, g.probes = nil, nil })
		pass(time.Minute)
		if len(g.lists) != 0 || len(g.probes) < 59 || len(g.probes) > 61 {
			t.Errorf("in a minute of degraded: %d lists, %d probes; want none and one a second", len(g.lists), len(g.probes))
		}
	})
}

func TestAlternatingPollsNeverDegrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		synctest.Wait()
		held := p.Snapshot().Inventory
		last := p.Snapshot().LastPoll.At
		for polls := 0; polls < 1000; {
			s, superseded := p.Watch()
			if s.Status != core.Healthy || s.Inventory != held {
				t.Fatalf("after %d polls: %s, %v", polls, s.Status, names(s))
			}
			if s.LastPoll.At != last {
				last = s.LastPoll.At
				polls++
				g.set(func(g *target) {
					if g.away == nil {
						g.away = refused
					} else {
						g.away = nil
					}
				})
			}
			<-superseded
		}
	})
}

func TestResidencyFailsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		synctest.Wait()
		g.set(func(g *target) { g.psAway = &core.Fault{Reason: core.StatusReason(500), Detail: "GET /api/ps: 500"} })
		pass(10 * time.Minute)
		s := p.Snapshot()
		if s.Status != core.Healthy || s.InventoryStale() {
			t.Errorf("with ps failing: %s, inventory stale %t", s.Status, s.InventoryStale())
		}
		if !s.ResidencyStale() || s.ResidencyFault.Reason != "status_500" || s.Residency == nil {
			t.Errorf("with ps failing: residency stale %t, fault %v, kept %t", s.ResidencyStale(), s.ResidencyFault, s.Residency != nil)
		}
		g.set(func(g *target) { g.psAway = nil })
		pass(time.Minute)
		if s := p.Snapshot(); s.ResidencyStale() || s.ResidencyFault != nil {
			t.Errorf("a minute after ps is back: stale %t, fault %v", s.ResidencyStale(), s.ResidencyFault)
		}
	})
}

func TestRecheckIsOneLookForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		pass(10 * time.Second)
		g.install("tiny:latest", "pulled:latest")
		g.set(func(g *target) { g.lists = nil })
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i%10 == 0 {
					cancel() // leaves at once; the others' look goes on
				}
				if s := p.Recheck(ctx); i%10 != 0 && len(names(s)) != 2 {
					t.Errorf("caller %d got %v", i, names(s))
				}
			})
		}
		all.Wait()
		if len(g.lists) != 1 {
			t.Errorf("%d lists for 1,000 callers at once", len(g.lists))
		}
	})
}

func TestRechecksAreOneASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		pass(10 * time.Second)
		g.set(func(g *target) { g.lists = nil })
		for until := time.Now().Add(10 * time.Second); time.Now().Before(until); {
			asked := time.Now()
			s := p.Recheck(t.Context())
			if s.LastPoll.At.Before(asked) {
				t.Fatalf("a recheck at %v got the look of %v", asked, s.LastPoll.At)
			}
			if waited := time.Since(asked); waited > 2*time.Second {
				t.Fatalf("a recheck took %v", waited)
			}
			time.Sleep(time.Millisecond)
		}
		if n := len(g.lists); n < 9 || n > 11 {
			t.Errorf("%d lists in 10 s of callers who keep asking", n)
		}
	})
}

func TestRecheckOfAFrozenTargetIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		pass(10 * time.Second)
		g.set(func(g *target) { g.hangs = true })
		asked := time.Now()
		s := p.Recheck(t.Context())
		if waited := time.Since(asked); waited > 2*time.Second || len(names(s)) != 1 {
			t.Errorf("took %v and got %v", waited, names(s))
		}
	})
}

func TestNudgeWhileDownProbesAtOnce(t *testing.T) {
	slow := options
	slow.DownInterval = time.Minute
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, slow)
		synctest.Wait()
		g.set(func(g *target) { g.away = refused })
		pass(time.Minute)
		g.set(func(g *target) { g.away = nil })
		if s := p.Recheck(t.Context()); s.Status != core.Healthy {
			t.Errorf("a caller's recheck of a target that is back: %s", s.Status)
		}
	})
}

func TestWakeGivesUpAHangingLook(t *testing.T) {
	slow := options
	slow.Timeout = 10 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		g := &target{behaviour: behaviour{models: []string{"tiny:latest"}, hangs: true}}
		p := start(t, g, slow)
		pass(time.Minute)
		g.set(func(g *target) { g.hangs = false })
		p.Wake()
		synctest.Wait()
		if s := p.Snapshot(); s.Status != core.Healthy || s.Failures != 0 {
			t.Errorf("at once after the wake: %s, %d failures", s.Status, s.Failures)
		}
	})
}

func TestUnchangedListKeepsTheInventory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := having("tiny:latest")
		p := start(t, g, options)
		synctest.Wait()
		first := p.Snapshot()
		pass(time.Hour)
		if s := p.Snapshot(); s.Inventory != first.Inventory || !s.InventoryAt.After(first.InventoryAt) {
			t.Errorf("an hour later: same inventory %t, confirmed at %v", s.Inventory == first.Inventory, s.InventoryAt)
		}
		g.install("other:latest")
		pass(33 * time.Second)
		if diff := cmp.Diff([]string{"other:latest"}, names(p.Snapshot())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRestartWhileTheTargetSleeps(t *testing.T) {
	restored := core.Snapshot{Inventory: core.NewInventory([]core.Model{{Name: "old:latest", Raw: []byte(`{}`)}}, "")}
	synctest.Test(t, func(t *testing.T) {
		g := &target{behaviour: behaviour{hangs: true}}
		p := startFrom(t, g, restored, options)
		synctest.Wait()
		if s := p.Snapshot(); s.Status != core.Starting || !s.InventoryStale() || len(names(s)) != 1 {
			t.Errorf("before the first poll ends: %s, stale %t, %v", s.Status, s.InventoryStale(), names(s))
		}
		pass(time.Minute)
		if s := p.Snapshot(); s.Status != core.Degraded || !s.InventoryStale() || len(names(s)) != 1 {
			t.Errorf("a minute later: %s, stale %t, %v", s.Status, s.InventoryStale(), names(s))
		}
	})
}

func TestStopsInTheMiddleOfALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := inventory.New(&target{behaviour: behaviour{hangs: true}}, core.Snapshot{}, options, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-done; err != nil || time.Since(began) != 0 {
			t.Errorf("Run: %v after %v", err, time.Since(began))
		}
	})
}
