package events_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/events"
)

// A target is what a poller would publish of it.
type target struct {
	mu         sync.Mutex
	snapshot   *core.Snapshot
	superseded chan struct{}
}

func newTarget(url string) *target {
	return &target{
		snapshot:   &core.Snapshot{Status: core.Starting, Backend: "ollama", URL: url},
		superseded: make(chan struct{}),
	}
}

func (g *target) watch() (*core.Snapshot, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.snapshot, g.superseded
}

// look publishes what a look brings, a second after the last one.
func (g *target) look(look core.Look) {
	time.Sleep(time.Second) // in the bubble
	look.At = time.Now()
	g.mu.Lock()
	g.snapshot = g.snapshot.After(look, core.Thresholds{Fall: 1, Rise: 1})
	close(g.superseded)
	g.superseded = make(chan struct{})
	g.mu.Unlock()
	synctest.Wait()
}

func (g *target) lists(names ...string) {
	var models []core.Model
	for _, name := range names {
		models = append(models, core.Model{Name: name, Raw: []byte(`{}`)})
	}
	g.look(core.Look{Inventory: core.NewInventory(models, ""), Residency: core.NewResidency(nil)})
}

func (g *target) fails() {
	g.look(core.Look{Poll: core.Poll{Fault: &core.Fault{Reason: core.ReasonRefused, Detail: "connection refused"}}})
}

// A run is one life of a follower.
type run struct {
	*events.Follower
	told []core.Event
	log  bytes.Buffer
	stop func()
}

func follow(t *testing.T, g *target, opts events.Options) *run {
	r := new(run)
	r.Follower = events.NewFollower(g.watch, func(e core.Event) { r.told = append(r.told, e) }, opts,
		slog.New(slog.NewTextHandler(&r.log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	synctest.Wait()
	return r
}

// expect checks the types of what was told since the last call.
func (r *run) expect(t *testing.T, want ...core.EventType) {
	t.Helper()
	var got []core.EventType
	for _, e := range r.told {
		got = append(got, e.Type)
		if e.ID != "" || !e.At.Equal(time.Now()) {
			t.Errorf("told %+v at %v", e, time.Now())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	r.told = nil
}

// bubble runs test with a directory for its state.
func bubble(t *testing.T, test func(t *testing.T, opts events.Options)) {
	opts := events.Options{Settle: 2, StateDir: filepath.Join(t.TempDir(), "state")}
	synctest.Test(t, func(t *testing.T) { test(t, opts) })
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestFollowerTellsInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, opts events.Options) {
		g := newTarget("http://a:1")
		r := follow(t, g, opts)
		g.lists("a", "b")
		r.expect(t)
		g.fails()
		r.expect(t, core.EventDegraded)
		g.fails()
		r.expect(t)
		g.lists("b")
		r.expect(t, core.EventRecovered)
		g.lists("b", "c")
		r.expect(t, core.EventModelAdded, core.EventModelRemoved)
	})
}

func TestFollowerTellsWhatChangedBeforeRun(t *testing.T) {
	bubble(t, func(t *testing.T, opts events.Options) {
		g := newTarget("http://a:1")
		g.lists("a")
		var told []core.EventType
		f := events.NewFollower(g.watch, func(e core.Event) { told = append(told, e.Type) }, opts, slog.New(slog.DiscardHandler))
		g.lists("a", "b") // before Run
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]core.EventType{core.EventModelAdded}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestSetSettle(t *testing.T) {
	bubble(t, func(t *testing.T, opts events.Options) {
		g := newTarget("http://a:1")
		r := follow(t, g, opts)
		g.lists("a", "b")
		r.SetSettle(3)
		g.lists("a")
		g.lists("a")
		r.expect(t)
		g.lists("a")
		r.expect(t, core.EventModelRemoved)
		r.SetSettle(1)
		g.lists()
		r.expect(t, core.EventModelRemoved)
	})
}

func TestFollowerRemembersAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, opts events.Options) {
		g := newTarget("http://a:1")
		r := follow(t, g, opts)
		g.fails()
		r.expect(t, core.EventDegraded)
		since := time.Now()
		r.stop()
		expectPrivate(t, opts.StateDir, "outage.json")

		// Two more lives see it down, the second one sees it come back.
		for range 2 {
			g = newTarget("http://a:1")
			r = follow(t, g, opts)
			g.fails()
			g.fails()
			r.expect(t)
			if strings.Contains(r.log.String(), "WARN") {
				t.Errorf("log: %s", &r.log)
			}
			r.stop()
		}
		g = newTarget("http://a:1")
		r = follow(t, g, opts)
		g.lists("a")
		if len(r.told) != 1 {
			t.Fatalf("told %v", r.told)
		}
		want := core.NewEvent(core.EventRecovered, time.Now(), "http://a:1", "target http://a:1 is healthy again after "+time.Since(since).String(),
			core.RecoveredData{DegradedAt: since.UTC(), DegradedSeconds: time.Since(since).Seconds()})
		if diff := cmp.Diff(want, r.told[0]); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		r.stop()
		if left := files(t, opts.StateDir); len(left) > 0 {
			t.Errorf("all is well and there is still %v", left)
		}

		g = newTarget("http://a:1")
		r = follow(t, g, opts)
		g.lists("a")
		r.expect(t)
	})
}

func expectPrivate(t *testing.T, dir string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, name := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// TestFollowerIsKilled has a foreman that dies while it tells: degraded is told
// again then, and recovered is told even if it is never degraded again.
func TestFollowerIsKilled(t *testing.T) {
	for name, tt := range map[string]struct {
		after string
		want  []core.EventType
	}{
		"still away": {"fails", []core.EventType{core.EventDegraded}},
		"back":       {"lists", []core.EventType{core.EventRecovered}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, opts events.Options) {
				path := filepath.Join(opts.StateDir, "outage.json")
				var atTell []byte
				g := newTarget("http://a:1")
				f := events.NewFollower(g.watch, func(core.Event) { atTell, _ = os.ReadFile(path) }, opts, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- f.Run(ctx) }()
				g.fails()
				cancel()
				<-done
				if err := os.WriteFile(path, atTell, 0o600); err != nil {
					t.Fatal(err)
				}

				g = newTarget("http://a:1")
				r := follow(t, g, opts)
				if tt.after == "fails" {
					g.fails()
				} else {
					g.lists("a")
				}
				r.expect(t, tt.want...)
			})
		})
	}
}

func TestFollowerWithoutAUsableMemory(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "cut off": `{"backend":"olla`, "of another kind": `{}`} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, opts events.Options) {
				path := filepath.Join(opts.StateDir, "outage.json")
				if err := os.MkdirAll(opts.StateDir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				g := newTarget("http://a:1")
				r := follow(t, g, opts)
				if !strings.Contains(r.log.String(), "outage.json") {
					t.Errorf("no word of it in the log: %s", &r.log)
				}
				g.fails()
				r.expect(t, core.EventDegraded)
				r.stop()
				r = follow(t, newTarget("http://a:1"), opts)
				if r.log.Len() > 0 {
					t.Errorf("the file wasn't replaced: %s", &r.log)
				}
			})
		})
	}
}

func TestFollowerTellsWhereItCannotWrite(t *testing.T) {
	bubble(t, func(t *testing.T, opts events.Options) {
		if err := os.WriteFile(opts.StateDir, nil, 0o600); err != nil { // a file where the directory should be
			t.Fatal(err)
		}
		g := newTarget("http://a:1")
		r := follow(t, g, opts)
		g.fails()
		r.expect(t, core.EventDegraded)
		g.lists("a")
		r.expect(t, core.EventRecovered)
		if !strings.Contains(r.log.String(), "can't be saved") {
			t.Errorf("no word of it in the log: %s", &r.log)
		}
	})
}

func TestUnfinishedMemoryIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, opts events.Options) {
		if err := os.MkdirAll(opts.StateDir, 0o700); err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(opts.StateDir, "outage.json.tmp") // by a foreman that was killed
		if err := os.WriteFile(left, bytes.Repeat([]byte("x"), 1000), fs.FileMode(0o600)); err != nil {
			t.Fatal(err)
		}
		g := newTarget("http://a:1")
		r := follow(t, g, opts)
		g.fails()
		r.stop()
		expectPrivate(t, opts.StateDir, "outage.json")
		g = newTarget("http://a:1")
		r = follow(t, g, opts)
		g.fails()
		r.expect(t)
	})
}
