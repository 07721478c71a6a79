package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/testkit"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const soon = 10 * time.Second

// A stage is a target with room for one model, on which each chat waits until
// the test lets it go.
type stage struct {
	t    *testing.T
	url  string
	came chan line     // the chats, in the order in which they got here
	goOn chan struct{} // lets one of them go
}

// A line is a chat as the target got it.
type line struct {
	Model, Tag string
	KeepAlive  string `json:"keep_alive"`
}

func newStage(t *testing.T, models ...string) *stage {
	s := &stage{t: t, came: make(chan line, 1000), goOn: make(chan struct{})}
	options := sim.Options{VRAM: 1 << 30, Instant: true}
	for _, name := range models {
		options.Models = append(options.Models, sim.Model{Name: name, Size: 1 << 30})
	}
	simulated := sim.New(options)
	mux := http.NewServeMux()
	mux.Handle("/", simulated.Handler())
	mux.HandleFunc("POST /api/chat", func(w http.ResponseWriter, r *http.Request) {
		var chat line
		if err := json.NewDecoder(r.Body).Decode(&chat); err != nil {
			t.Errorf("the target gets a bad request: %v", err)
		}
		simulated.Load(chat.Model)
		s.came <- chat
		select {
		case <-s.goOn:
			fmt.Fprintf(w, `{"model":%q,"done":true}`, chat.Model)
		case <-r.Context().Done():
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// next is the chat that comes next.
func (s *stage) next() line {
	s.t.Helper()
	select {
	case chat := <-s.came:
		return chat
	case <-time.After(soon):
		s.t.Fatal("the target gets no request")
		return line{}
	}
}

// mustGoOn ends the chat that is on, again and again, and wants those with
// these tags to come next.
func (s *stage) mustGoOn(tags ...string) (chats []line) {
	s.t.Helper()
	var got []string
	for range tags {
		s.end()
		chats = append(chats, s.next())
		got = append(got, chats[len(chats)-1].Tag)
	}
	if !slices.Equal(tags, got) {
		s.t.Fatalf("they came in the order %v, want %v", got, tags)
	}
	return chats
}

// end ends a chat that is on.
func (s *stage) end() {
	s.t.Helper()
	select {
	case s.goOn <- struct{}{}:
	case <-time.After(soon):
		s.t.Fatal("no chat is on")
	}
}

// mustBeAlone wants no other request to have got through.
func (s *stage) mustBeAlone() {
	s.t.Helper()
	select {
	case chat := <-s.came:
		s.t.Errorf("%s came, too", chat.Tag)
	default:
	}
}

// A front is a daemon before a stage, and those who use it.
type front struct {
	*api.Client
	t      *testing.T
	url    string
	waits  int // how many requests are known to
	client *http.Client
}

func newFront(t *testing.T, url string, client *api.Client) *front {
	f := &front{Client: client, t: t, url: url, client: &http.Client{Transport: new(http.Transport), Timeout: 3 * soon}}
	t.Cleanup(f.client.CloseIdleConnections)
	testkit.Await(t, soon, "a first poll", func() error {
		health, err := client.Health(t.Context())
		if err == nil && health.Status != core.Healthy {
			err = fmt.Errorf("the target is %s", health.Status)
		}
		return err
	})
	return f
}

func chatOf(model, tag string) string { return fmt.Sprintf(`{"model":%q,"tag":%q}`, model, tag) }

// call sends a chat whose answer nobody reads, until leave is called.
func (f *front) call(model, tag string) (leave func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/api/chat", strings.NewReader(chatOf(model, tag)))
	if err != nil {
		f.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := f.client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // perhaps it left
			_ = resp.Body.Close()
		}
	}()
	leave = func() { cancel(); <-done }
	f.t.Cleanup(leave)
	return leave
}

// waitsFor sends a chat that has to wait for its turn.
func (f *front) waitsFor(model, tag string) (leave func()) {
	f.t.Helper()
	leave = f.call(model, tag)
	f.awaitWaiting(f.waits + 1)
	return leave
}

// job submits a job that has to wait for its turn. more goes into its body.
func (f *front) job(model, tag, more string) (id string) {
	f.t.Helper()
	id, err := f.Submit(f.t.Context(), core.JobRequest{Path: "/api/chat", Body: []byte(strings.TrimSuffix(chatOf(model, tag), "}") + more + "}")})
	if err != nil {
		f.t.Fatal(err)
	}
	f.awaitWaiting(f.waits + 1)
	return id
}

// awaitWaiting waits until so many requests wait.
func (f *front) awaitWaiting(count int) {
	f.t.Helper()
	testkit.Await(f.t, soon, fmt.Sprintf("%d requests wait", count), func() error {
		queue, err := f.Queue(f.t.Context())
		if err == nil && len(queue.Waiting) != count {
			err = fmt.Errorf("%d do", len(queue.Waiting))
		}
		return err
	})
	f.waits = count
}

// onStage is a daemon before a stage with the models a, b and small.
func onStage(t *testing.T) (*stage, *front) {
	s := newStage(t, "a", "b", "small")
	l := reloadable(t, "[target]\nurl = %q\n[schedule]\nbeside = [\"small*\"]\n", s.url)
	return s, newFront(t, l.URL(), l.client)
}

func TestCallersOfTwoModelsTakeTurns(t *testing.T) {
	s, f := onStage(t)
	f.call("a", "a0")
	s.next()
	for _, tag := range []string{"b1", "a1", "b2", "a2", "b3"} {
		f.waitsFor(tag[:1], tag)
	}
	s.mustGoOn("a1", "a2", "b1", "b2", "b3")
	s.end()
}

func TestACallerWhoLeavesLeavesTheQueue(t *testing.T) {
	s, f := onStage(t)
	f.call("a", "a0")
	s.next()
	leave := f.waitsFor("b", "b1")
	f.waitsFor("a", "a1")
	leave()
	f.awaitWaiting(1)
	s.mustGoOn("a1")
	s.end()
	f.awaitWaiting(0)
	s.mustBeAlone()
}

func TestACallerTooManyIsToldInOllamasWords(t *testing.T) {
	s, f := onStage(t)
	f.call("a", "a0")
	s.next()
	const most = 256
	var leave []func()
	for n := range most {
		leave = append(leave, f.call("a", "a"+strconv.Itoa(n+1)))
	}
	f.awaitWaiting(most)
	resp, err := f.client.Post(f.url+"/api/chat", "application/json", strings.NewReader(chatOf("a", "too many")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	const want = `{"error":"server busy, please try again.  maximum pending requests exceeded"}`
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || string(bytes.TrimSpace(body)) != want {
		t.Errorf("one too many is answered %s %s, %v", resp.Status, body, err)
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 10 {
		t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
	}
	leave[0]()
	f.awaitWaiting(most - 1)
	f.waitsFor("a", "in its place")
}

func TestAModelBesideDoesNotWait(t *testing.T) {
	s, f := onStage(t)
	f.call("a", "a0")
	s.next()
	f.waitsFor("b", "b1")
	f.call("small", "s1")
	if got := s.next(); got.Tag != "s1" {
		t.Errorf("%s came", got.Tag)
	}
	s.end()
	s.mustGoOn("b1")
	s.end()
}

// A caller on the line goes before the jobs for the same model; whose model
// isn't there, waits.
func TestJobsAndCallersShareOneOrder(t *testing.T) {
	s, f := onStage(t)
	f.call("a", "a0")
	s.next()
	other := f.job("b", "other", "")
	job := f.job("a", "job", "")
	f.waitsFor("b", "call for b")
	f.waitsFor("a", "call")
	if got, err := f.Queue(t.Context()); err != nil || got.Swaps != 1 || got.Jobs[core.JobQueued] != 2 {
		t.Errorf("the queue is %+v, %v", got, err)
	}
	s.mustGoOn("call", "job", "call for b", "other")
	s.end()
	for _, id := range []string{job, other} {
		f.awaitState(id, core.JobDone)
	}
}

func (f *front) awaitState(id string, want core.JobState) {
	f.t.Helper()
	testkit.Await(f.t, soon, "the end of a job", func() error {
		job, err := f.Job(f.t.Context(), id)
		if err == nil && job.State != want {
			err = fmt.Errorf("it is %s: %s", job.State, job.Error)
		}
		return err
	})
}

func TestMoreSlotsCountAtOnce(t *testing.T) {
	s := newStage(t, "a")
	l := reloadable(t, "[target]\nurl = %q\n", s.url)
	f := newFront(t, l.URL(), l.client)
	f.call("a", "a0")
	s.next()
	f.waitsFor("a", "a1")
	f.job("a", "job", "")
	f.waitsFor("a", "a2")
	l.write("[target]\nurl = %q\n[schedule]\nparallel = 2\n", s.url)
	if got := s.next(); got.Tag != "a1" {
		t.Errorf("%s came, want a1", got.Tag)
	}
	f.awaitWaiting(2)
	s.mustBeAlone()
	s.mustGoOn("a2", "job")
	s.end()
	s.end()
}

// While more work waits for a model, the target is asked to keep it; a job that
// says itself how long is left alone.
func TestAModelStaysWhileWorkForItWaits(t *testing.T) {
	s, f := onStage(t)
	f.call("a", "a0")
	s.next()
	f.job("a", "plain", "")
	f.job("a", "own", `,"keep_alive":"3s"`)
	f.job("a", "last", "")
	got := s.mustGoOn("plain", "own", "last")
	if got[0].KeepAlive != "10m0s" || got[1].KeepAlive != "3s" {
		t.Errorf("the target was asked to keep the model for %q and %q", got[0].KeepAlive, got[1].KeepAlive)
	}
	s.end()
}

// A foreman that can't keep jobs says so, and does the rest.
func TestWithoutAStoreTheRestGoesOn(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, stateDir, target string) (complaint string){
		"damaged": func(t *testing.T, dir, _ string) string {
			if err := os.WriteFile(filepath.Join(dir, "jobs.db"), bytes.Repeat([]byte("garbage "), 4096), 0o600); err != nil {
				t.Fatal(err)
			}
			return "jobs.db is damaged: stop foreman"
		},
		"another foreman's": func(t *testing.T, dir, target string) string {
			cfg := configFor(t, target)
			cfg.Server.StateDir = dir
			_, stop := run(t, cfg)
			t.Cleanup(stop)
			return "another foreman keeps its jobs in"
		},
		"a directory": func(t *testing.T, dir, _ string) string {
			if err := os.Mkdir(filepath.Join(dir, "jobs.db"), 0o700); err != nil {
				t.Fatal(err)
			}
			return "no jobs are kept"
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := simulated(t, "tiny:latest")
			cfg := configFor(t, target.URL())
			complaint := spoil(t, cfg.Server.StateDir, target.URL())
			log := new(syncBuffer)
			d, stop := serve(t, cfg, slog.New(slog.NewTextHandler(log, nil)))
			defer stop()
			client := api.NewClient(d.Addr().String(), "")
			newFront(t, d.URL(), client)
			if !strings.Contains(log.String(), complaint) {
				t.Errorf("the log doesn't say %q:\n%s", complaint, log.String())
			}
			_, err := client.Submit(t.Context(), core.JobRequest{Path: "/api/chat", Body: []byte(chatOf("tiny", "1"))})
			if err == nil || !strings.Contains(err.Error(), "keeps no jobs") {
				t.Errorf("a submit: %v", err)
			}
			if err := chatsThrough(d.URL()); err != nil {
				t.Error(err)
			}
		})
	}
}

// chatsThrough wants a whole answer to a chat.
func chatsThrough(url string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(url+"/api/chat", "application/json", strings.NewReader(chatOf("tiny", "1")))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"done":true`)) {
		return fmt.Errorf("a chat is answered %s %s, %v", resp.Status, body, err)
	}
	return nil
}
