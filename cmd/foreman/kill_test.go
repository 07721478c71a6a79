//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/testkit"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const kills = 15

// TestKilledAtAnyMoment kills foreman, its plugin and the target in turn while
// jobs come and run. What was acknowledged isn't lost, every job ends, and a
// result that somebody has seen stays the same.
func TestKilledAtAnyMoment(t *testing.T) {
	m := &mortal{s: newScribe(), t: t}
	m.start("127.0.0.1:0")
	t.Cleanup(m.kill)
	f := testkit.NewForeman(t, ourselves(t), testkit.Settings{
		Target: "http://" + m.address, Poll: fastPoll, Server: "[jobs]\nmax_attempts = 1000",
		Env: []string{"GORACE=atexit_sleep_ms=0"},
	})
	f.Start()
	w := &watch{client: clientOf(f), tags: map[string]string{}, results: map[string][]byte{}}
	load := submitAllTheTime(t, w)
	for _, victim := range rand.Perm(kills) {
		done := w.done()
		testkit.Await(t, soon, "another job is done", func() error {
			err := w.look(t.Context())
			if err == nil && w.done() == done {
				err = errors.New("none is")
			}
			return err
		})
		switch victim % 3 {
		case 0:
			f.Signal(syscall.SIGKILL)
			f.AwaitEnd(time.Second, goneSoon)
			f.Start()
		case 1:
			awaitHealth(t, f, soon, func(h testkit.Health) error {
				if len(h.Plugins) != 1 || h.Plugins[0].State != "running" {
					return fmt.Errorf("no plugin runs: %+v", h.Plugins)
				}
				return nil
			})
			_ = syscall.Kill(f.PluginPid(), syscall.SIGKILL) // it may have ended just now
		case 2:
			m.kill()
			m.start(m.address)
		}
	}
	load()
	testkit.Await(t, time.Minute, "every job ends", func() error {
		err := w.look(t.Context())
		if err == nil && w.done() < len(w.tags) {
			err = fmt.Errorf("%d of %d are done", w.done(), len(w.tags))
		}
		return err
	})
	for id, tag := range w.tags {
		if got := mustBeDoneOnce(t, w.client, id, m.s.whole(tag)); !bytes.Equal(w.results[id], got) {
			t.Errorf("the result of job %s was %q and is %q", id, w.results[id], got)
		}
	}
	t.Logf("%d jobs through %d kills", len(w.tags), kills)
}

// ourselves is this test binary under the name of foreman, which it then is:
// with the race detector, if we have it.
func ourselves(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "foreman")
	if os.Link(self, name) == nil {
		return name
	}
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(name, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// A mortal is a simulated target that dies and comes back.
type mortal struct {
	t       *testing.T
	address string
	s       *scribe
	sim     *sim.Server
	http    *http.Server
	served  chan struct{}
}

func (m *mortal) start(address string) {
	m.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		m.t.Fatal(err)
	}
	m.address, m.served = listener.Addr().String(), make(chan struct{})
	var models []sim.Model
	for _, name := range []string{"one", "two"} {
		models = append(models, sim.Model{Name: name, Size: 20 << 30, Load: 30 * time.Millisecond, TokensPerSecond: 2000})
	}
	m.sim = sim.New(sim.Options{Models: models})
	m.http = &http.Server{Handler: m.s.wrap(m.sim.Handler())}
	go func(server *http.Server, served chan struct{}) {
		defer close(served)
		_ = server.Serve(listener) // until kill
	}(m.http, m.served)
}

func (m *mortal) kill() {
	_ = m.http.Close() // connections first, so that streams are cut and not ended
	_ = m.sim.Close()
	<-m.served
}

// A watch knows which jobs were acknowledged, and what was seen of them.
type watch struct {
	client *api.Client

	mu      sync.Mutex
	tags    map[string]string // by job
	results map[string][]byte // of the jobs that were seen done
}

func (w *watch) acknowledged(id, tag string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tags[id] = tag
}

func (w *watch) done() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.results)
}

// unseen are the jobs that weren't seen done.
func (w *watch) unseen() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.tags {
		if w.results[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// look reads the result of each job that is done since. Its error may pass.
func (w *watch) look(ctx context.Context) error {
	for _, id := range w.unseen() {
		job, err := w.client.Job(ctx, id)
		switch {
		case err != nil:
			return fmt.Errorf("job %s: %w", id, err)
		case job.State == core.JobFailed, job.State == core.JobCancelled:
			return fmt.Errorf("job %s is %s: %s", id, job.State, job.Error)
		case job.State != core.JobDone:
			continue
		}
		var result bytes.Buffer
		if _, err := w.client.Result(ctx, id, &result); err != nil {
			return err
		}
		w.mu.Lock()
		w.results[id] = result.Bytes()
		w.mu.Unlock()
	}
	return nil
}

// submitAllTheTime submits jobs, each until it is acknowledged, and returns
// what stops that.
func submitAllTheTime(t *testing.T, w *watch) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(60 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ; n++ {
			tag := fmt.Sprint("job ", n)
			body := fmt.Appendf(nil, `{"model":%q,"tag":%q,"messages":[{"role":"user","content":"hi"}]}`, []string{"one", "two"}[n%2], tag)
			for {
				select {
				case <-pace.C:
				case <-ctx.Done():
					return
				}
				id, err := w.client.Submit(ctx, core.JobRequest{Path: "/api/chat", Body: body, IdempotencyKey: tag})
				if err == nil {
					w.acknowledged(id, tag)
					break
				}
			}
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func clientOf(f *testkit.Foreman) *api.Client {
	return api.NewClient(strings.TrimPrefix(f.URL, "http://"), "")
}
