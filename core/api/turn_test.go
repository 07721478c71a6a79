package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// A booth has one turn at a time, for who comes first.
type booth struct {
	place chan struct{} // of capacity 1: holds one while somebody has the turn
	most  int           // that may wait; 0 is no bound
	more  bool          // work for each model waits

	mu      sync.Mutex
	waiting int
	told    []string
}

func newBooth() *booth { return &booth{place: make(chan struct{}, 1)} }

func (b *booth) options(o *setup) { o.Acquire = b.acquire }

func (b *booth) acquire(ctx context.Context, model, caller string) (core.Turn, error) {
	if !b.queue(1) {
		return nil, fmt.Errorf("acquire: %w", core.ErrBusy)
	}
	defer b.queue(-1)
	select {
	case b.place <- struct{}{}:
		b.tell(strings.TrimSpace(model + " " + caller))
		return &boothTurn{booth: b}, nil
	case <-ctx.Done():
		b.tell("left")
		return nil, ctx.Err()
	}
}

func (b *booth) queue(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 && b.most > 0 && b.waiting >= b.most {
		return false
	}
	b.waiting += n
	return true
}

func (b *booth) tell(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, what)
}

// heard is what was told since it was asked last.
func (b *booth) heard() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := strings.Join(b.told, ", ")
	b.told = nil
	return told
}

type boothTurn struct {
	booth *booth
	once  sync.Once
}

func (t *boothTurn) Done()   { t.giveBack("done") }
func (t *boothTurn) Failed() { t.giveBack("failed") }

func (t *boothTurn) More() bool { return t.booth.more }

func (t *boothTurn) giveBack(how string) {
	t.once.Do(func() {
		t.booth.tell(how)
		<-t.booth.place
	})
}

func TestCallersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth()
		var mu sync.Mutex
		running, most := 0, 0
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			line(w)
			time.Sleep(time.Minute)
			mu.Lock()
			running--
			mu.Unlock()
		}), b.options)
		began := time.Now()
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() { f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}") })
		}
		callers.Wait()
		if took := time.Since(began); most != 1 || took != 5*time.Minute {
			t.Errorf("%d at a time, %v", most, took)
		}
	})
}

func TestWhoTakesATurn(t *testing.T) {
	everyone := found(
		named("tiny:latest"), named("me/Big:v1"),
		model(`{"name":"far:latest","remote_host":"https://ollama.com","remote_model":"far"}`),
		model(`{"name":"near:latest","remote_host":""}`),
	)
	b := newBooth()
	f := start(t, everyone, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), b.options, withTokens, everything,
		func(o *setup) { o.Allow = []string{"secret-*"} })
	for request, want := range map[string]string{
		`/api/chat {"model":"tiny"}`:             "tiny:latest bob, done",
		`/api/generate {"model":"TINY:latest"}`:  "tiny:latest bob, done",
		`/api/chat {"model":"tiny:local"}`:       "tiny:latest bob, done",
		`/api/embed {"model":"me/big:v1"}`:       "me/Big:v1 bob, done",
		`/api/embeddings {"model":"near"}`:       "near:latest bob, done",
		`/v1/chat/completions {"model":"tiny"}`:  "tiny:latest bob, done",
		`/v1/completions {"model":"tiny"}`:       "tiny:latest bob, done",
		`/v1/embeddings {"model":"tiny"}`:        "tiny:latest bob, done",
		`/v1/responses {"model":"tiny"}`:         "tiny:latest bob, done",
		`/v1/messages {"model":"tiny"}`:          "tiny:latest bob, done",
		`/api/chat {"model":"secret-Plans:now"}`: "secret-Plans:now bob, done",

		`/api/chat {"model":"far"}`:      "", // the target asks another
		`/api/chat {"model":"x:cloud"}`:  "",
		`/api/chat {"model":"nope"}`:     "", // refused
		`/api/show {"model":"tiny"}`:     "",
		`/api/pull {"model":"tiny"}`:     "",
		`/api/generate {"model":"tiny"}`: "tiny:latest bob, done", // a load drives another model out

		// An unload needn't wait for what it ends.
		`/api/generate {"model":"tiny","keep_alive":0}`:                            "",
		`/api/generate {"model":"tiny","keep_alive":"0s","prompt":""}`:             "",
		`/api/generate {"model":"tiny","prompt":"","keep_alive":"0"}`:              "",
		`/api/chat {"model":"tiny","keep_alive":0,"messages":[]}`:                  "",
		`/api/chat {"model":"tiny","keep_alive":0,"prompt":"of another route"}`:    "",
		`/api/chat {"model":"tiny","keep_alive":0,"messages":[{"role":"user"}]}`:   "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":0,"prompt":"hi"}`:              "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":0,"PROMPT":"hi"}`:              "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":0,"keep_alive":"5m"}`:          "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":0,"prompt":" "}`:               "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":0,"prompt":"a","prompt":null}`: "tiny:latest bob, done", // null changes nothing
		`/api/generate {"model":"tiny","keep_alive":0,"prompt":null}`:              "",
		`/api/generate {"model":"tiny","keep_alive":-1,"Keep_Alive":0}`:            "",
		`/api/chat {"model":"tiny","keep_alive":0,"messages":[ ]}`:                 "",
		`/api/generate {"model":"tiny","x":[{"prompt":"}]\\"}],"keep_alive":0}`:    "",
		`/api/generate {"model":"tiny","keep_alive":-1}`:                           "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":"5m"}`:                         "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":"soon"}`:                       "tiny:latest bob, done",
		`/api/generate {"model":"tiny","keep_alive":null}`:                         "tiny:latest bob, done",
		`/api/embed {"model":"tiny","keep_alive":0}`:                               "tiny:latest bob, done",
		`/v1/chat/completions {"model":"tiny","keep_alive":0}`:                     "tiny:latest bob, done",
	} {
		path, body, _ := strings.Cut(request, " ")
		f.do("POST", path, body, "X-Api-Key: bob secret")
		if got := b.heard(); got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}

func TestAFullQueueAnswersInOllamasWords(t *testing.T) {
	const why = "server busy, please try again.  maximum pending requests exceeded"
	for path, want := range map[string]string{
		"/api/chat":            `{"error":"` + why + `"}`,
		"/v1/chat/completions": `{"error":{"code":null,"message":"` + why + `","param":null,"type":"api_error"}}`,
		"/v1/messages":         `{"error":{"message":"` + why + `","type":"api_error"},"type":"error"}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBooth()
			b.most = 1
			f := start(t, tiny(), listens(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }), b.options)
			var callers sync.WaitGroup
			defer callers.Wait()
			for range 2 {
				callers.Go(func() { f.do("POST", "/api/chat", asksTiny) })
				synctest.Wait()
			}
			got := f.do("POST", path, asksTiny)
			got.says(t, 503, want)
			if got.header.Get("Retry-After") != "10" {
				t.Errorf("%v", got.header)
			}
		})
	}
}

func TestHowATurnEnds(t *testing.T) {
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, tt := range map[string]struct {
		target http.HandlerFunc
		want   string
	}{
		"answered":         {answers(200), "tiny:latest, done"},
		"refused":          {answers(400), "tiny:latest, done"},
		"broke":            {answers(500), "tiny:latest, failed"},
		"busy":             {answers(503), "tiny:latest, failed"},
		"redirected":       {answers(307), "tiny:latest, done"},
		"no answer at all": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "tiny:latest, failed"},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			line(w)
			panic(http.ErrAbortHandler)
		}, "tiny:latest, done"},
	} {
		b := newBooth()
		f := start(t, tiny(), listens(tt.target), b.options)
		if resp, err := f.chat(); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		f.stop()
		<-f.stopped // and with it the handler
		if got := b.heard(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestWhoLeavesLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, freed := newBooth(), make(chan struct{})
		f := start(t, tiny(), listens(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(freed)
		}), b.options)
		ctx, leave := context.WithCancel(t.Context())
		asks := func(ctx context.Context) {
			req, _ := http.NewRequestWithContext(ctx, "POST", "http://localhost/api/chat", strings.NewReader(asksTiny))
			if resp, err := f.client.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		impatient, giveUp := context.WithTimeout(t.Context(), 3*time.Second)
		defer giveUp()
		var callers sync.WaitGroup
		callers.Go(func() { asks(ctx) })
		synctest.Wait()
		callers.Go(func() { asks(impatient) })
		time.Sleep(4 * time.Second)
		if got, want := b.heard(), "tiny:latest, left"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		leave()
		<-freed
		callers.Wait()
		synctest.Wait()
		if got := b.heard(); got != "done" {
			t.Errorf("then %q", got)
		}
	})
}

// Those in the line all came while the target was away: each gives up after
// its own wait, not after those of all before it.
func TestNobodyWaitsForTheRetriesOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), http.NotFoundHandler(), newBooth().options, retryFor(time.Minute))
		f.leave()
		began := time.Now()
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() {
				f.do("POST", "/api/chat", asksTiny).says(t, 503, `{"error":"foreman can't reach its target: refused"}`)
			})
		}
		callers.Wait()
		if took := time.Since(began); took > 61*time.Second {
			t.Errorf("all have an answer after %v", took)
		}
	})
}

// Who waited long for the turn still has the whole wait for a target that goes
// away just then.
func TestWaitingForATurnIsNoRetrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			for range 300 {
				line(w)
				time.Sleep(time.Second)
			}
		}), newBooth().options, retryFor(time.Minute))
		var callers sync.WaitGroup
		callers.Go(func() { f.do("POST", "/api/chat", asksTiny) })
		synctest.Wait()
		callers.Go(func() {
			if got := f.do("POST", "/api/chat", asksTiny); got.status != 200 {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
		time.AfterFunc(299*time.Second, func() { f.away.Store(refused) }) // what is connected goes on
		time.AfterFunc(330*time.Second, func() { f.away.Store(nil) })
		callers.Wait()
	})
}

func TestARequestInTheQueueIsJudgedFirst(t *testing.T) {
	b := newBooth()
	b.place <- struct{}{} // nobody gets a turn
	f := start(t, found(named("tiny:latest")), nil, b.options)
	var got []int
	for _, body := range []string{`{"model":"nope"}`, `{}`, `{"model":"tiny","model":"x"}`} {
		got = append(got, f.do("POST", "/api/chat", body).status)
	}
	if !slices.Equal(got, []int{404, 400, 400}) {
		t.Error(cmp.Diff([]int{404, 400, 400}, got))
	}
}

// TestPlace: a job waits for the turn that a caller would wait for.
func TestPlace(t *testing.T) {
	f := start(t, found(named("tiny:latest"), named("my file.gguf"), model(`{"name":"far:latest","remote_host":"https://ollama.com","remote_model":"far"}`)), nil)
	for name, want := range map[string]string{
		"TINY": "tiny:latest true", "tiny:local": "tiny:latest true", "my file.gguf": "my file.gguf true", "new": "new true",
		"far": "far:latest false", "x:cloud": "x:cloud false",
	} {
		if model, queues := f.server.Place(name); fmt.Sprint(model, " ", queues) != want {
			t.Errorf("%s: %s %t, want %s", name, model, queues, want)
		}
	}
}

// TestPin: the target is asked to keep a model that others wait for, by whom
// it may be told, unless it stays longer by itself.
func TestPin(t *testing.T) {
	b := newBooth()
	got := ""
	resident := func(name string, stays time.Duration) core.Resident {
		return core.Resident{Name: name, ExpiresAt: time.Now().Add(stays), Raw: []byte("{}")}
	}
	believed := after(nothing(), sees(time.Now(), []core.Model{named("tiny:latest"), named("kept:latest"), named("cold:latest")},
		[]core.Resident{resident("tiny:latest", 5*time.Minute), resident("kept:latest", 24*time.Hour)}))
	f := start(t, believed, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		_, _ = io.WriteString(w, "{}")
	}), b.options)
	for _, c := range []struct {
		more             bool
		path, sent, want string
	}{
		{false, "/api/chat", `{"model":"tiny"}`, `{"model":"tiny"}`},
		{true, "/api/chat", ` {"model":"tiny"}`, ` {"keep_alive":"10m0s","model":"tiny"}`},
		{true, "/api/embed", `{"model":"tiny","keep_alive":0}`, `{"model":"tiny","keep_alive":0}`},
		{true, "/v1/chat/completions", `{"model":"tiny"}`, `{"model":"tiny"}`},
		{true, "/api/chat", `{"model":"kept"}`, `{"model":"kept"}`},
		{true, "/api/chat", `{"model":"cold"}`, `{"keep_alive":"10m0s","model":"cold"}`},
	} {
		b.more = c.more
		f.do("POST", c.path, c.sent).says(t, 200, "{}")
		if got != c.want {
			t.Errorf("with more: %t, %s %s reached the target as %s", c.more, c.path, c.sent, got)
		}
	}
	b.more = false
	work := core.Work{Path: "/api/generate", Body: []byte(`{"model":"tiny"}`), Pin: true}
	if err := f.server.Do(t.Context(), work, new(tray)); err != nil || got != `{"keep_alive":"10m0s","model":"tiny"}` {
		t.Errorf("a job's request reached the target as %s, %v", got, err)
	}
}
