package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// Each row is one option that changes from and back to what a server started
// with, and a request that tells.
func TestSetCountsFromTheNextRequestOn(t *testing.T) {
	pull := func(f *foreman) int { return f.do("POST", "/api/pull", `{}`).status }
	chat := func(body string) func(*foreman) int {
		return func(f *foreman) int { return f.do("POST", "/api/chat", body).status }
	}
	for name, c := range map[string]struct {
		set           func(*api.Options)
		ask           func(*foreman) int
		before, after int
	}{
		"tokens":        {func(o *api.Options) { o.Tokens = map[string]string{"a": "b"} }, func(f *foreman) int { return f.get("/api/tags").status }, 200, 401},
		"allowed hosts": {func(o *api.Options) { o.AllowedHosts = []string{"foreman.lan"} }, func(f *foreman) int { return f.get("/", "Host: foreman.lan").status }, 403, 200},
		"origins":       {func(o *api.Options) { o.Origins = []string{page} }, func(f *foreman) int { return f.do("POST", "/api/chat", asksTiny, "Origin: "+page).status }, 403, 200},
		"openai":        {func(o *api.Options) { o.OpenAI = false }, func(f *foreman) int { return f.get("/v1/models").status }, 200, 404},
		"management":    {func(o *api.Options) { o.Management = true }, pull, 403, 200},
		"max body":      {func(o *api.Options) { o.MaxBody = 10 }, chat(asksTiny), 200, 413},
		"a bigger body": {func(o *api.Options) { o.MaxBody = 100 << 20 }, chat(padded(2 << 20)), 413, 200},
		"allow":         {func(o *api.Options) { o.Allow = []string{"nop?"} }, chat(`{"model":"nope"}`), 404, 200},
		"poll interval": {func(o *api.Options) { o.PollInterval = time.Second }, func(f *foreman) int {
			return strings.Count(f.get("/healthz").body, `"poll_interval_seconds":1,`)
		}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tiny(), listens(answers))
			for i, want := range []int{c.before, c.after, c.before} {
				if i == 1 {
					f.change(c.set)
				} else {
					f.change(func(*api.Options) {})
				}
				if got := c.ask(f); got != want {
					t.Errorf("step %d: %d, want %d", i, got, want)
				}
			}
		})
	}
}

func TestARequestEndsUnderTheOptionsItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "begins, ")
			flush(w)
			<-release
			_, _ = io.WriteString(w, "ends")
		}), retryFor(time.Minute))
		resp, err := f.chat()
		if err != nil {
			t.Fatal(err)
		}
		f.leave()
		waiting := make(chan answer)
		go func() { waiting <- f.do("POST", "/api/chat", asksTiny) }()
		synctest.Wait()
		f.change(func(o *api.Options) {
			o.Tokens, o.MaxBody, o.Connections, o.RetryMaxWait = map[string]string{"a": "b"}, 1, 1, 0
		})
		time.Sleep(2 * time.Second) // a longer silence would have the target probed
		f.away.Store(nil)
		close(release)
		for _, got := range []answer{read(t, resp), <-waiting} {
			if got.status != 200 || got.body != "begins, ends" {
				t.Errorf("%d %s", got.status, got.body)
			}
		}
		if got := f.do("POST", "/api/chat", asksTiny); got.status != 401 {
			t.Errorf("a later request: %d", got.status)
		}
	})
}

// A retry storm for a missing model stays cheap while the config changes.
func TestMissesOutlastSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), nil)
		for range 10 {
			f.do("POST", "/api/chat", `{"model":"nope"}`)
			f.change(func(o *api.Options) { o.Allow = []string{"other"} })
		}
		if looks, _ := f.asked(); looks != 2 {
			t.Errorf("%d looks at the target for ten requests", looks)
		}
	})
}

func TestSetChangesHowManyMayConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), nil)
		var conns []net.Conn
		for range 6 {
			conns = append(conns, f.open(livez))
			time.Sleep(time.Second)
		}
		open := func() (open []int) {
			synctest.Wait()
			for i, conn := range conns {
				if !isClosed(conn) {
					open = append(open, i)
				}
			}
			return open
		}
		f.server.Set(api.Options{Connections: 3})
		if got := open(); !slices.Equal(got, []int{3, 4, 5}) {
			t.Errorf("of six %v stay", got)
		}
		conns = append(conns, f.open(livez))
		if got := open(); !slices.Equal(got, []int{4, 5, 6}) {
			t.Errorf("after one more %v stay", got)
		}
		f.server.Set(api.Options{Connections: 0})
		conns = append(conns, f.open(livez))
		if got := open(); !slices.Equal(got, []int{4, 5, 6, 7}) {
			t.Errorf("without a bound %v stay", got)
		}
	})
}

// What is held under earlier options still counts: else each change would let
// in another budget's worth.
func TestTheBudgetOfBodiesOutlastsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), nil)
		conn := f.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.change(func(o *api.Options) { o.MaxBody = 2 << 20 })
		if !f.server.HoldsBodies() {
			t.Error("a body that is being read isn't counted any more")
		}
		f.change(func(o *api.Options) { o.MaxBody = 64 << 20 }) // which needs another budget
		if f.server.HoldsBodies() {
			t.Error("it is counted in a budget that it isn't of")
		}
	})
}

func TestNoRequestFailsWhileOptionsChange(t *testing.T) {
	f := start(t, tiny(), listens(answers))
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				if got := f.do("POST", "/api/chat", asksTiny); got.status != 200 {
					t.Errorf("%d %s", got.status, got.body)
				}
				if got := f.get("/api/tags", "Host: foreman.lan"); got.status != 200 && got.status != 403 {
					t.Errorf("%d %s", got.status, got.body)
				}
			}
		})
	}
	for i := range 200 {
		f.change(func(o *api.Options) {
			o.Connections, o.MaxBody, o.AllowedHosts = 100+i%3, int64(1000<<(i%20)), []string{"foreman.lan"}[:i%2]
		})
	}
	stop()
	group.Wait()
}

// v1Only is a target like llama.cpp's server.
func v1Only(o *setup) {
	o.Upstream = func() (core.Upstream, error) { return core.Upstream{URL: upstream, V1Only: true}, nil }
}

func TestATargetThatSpeaksOnlyV1(t *testing.T) {
	var reached []string
	f := start(t, tiny(), listens(func(w http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.URL.Path)
		fmt.Fprint(w, "{}")
	}), everything, v1Only)
	for request, instead := range map[string]string{
		"POST /api/generate": "/v1/completions", "POST /api/chat": "/v1/chat/completions",
		"POST /api/embed": "/v1/embeddings", "POST /api/embeddings": "/v1/embeddings", "POST /api/show": "/v1/models",
	} {
		for _, body := range []string{asksTiny, `{"model":"nope"}`, "nonsense"} {
			method, path, _ := strings.Cut(request, " ")
			f.do(method, path, body).says(t, 501, `{"error":"the target speaks only /v1; use `+instead+`"}`)
		}
	}
	for _, request := range append(slices.Clone(management), "POST /api/me", "POST /api/signout") {
		method, path, _ := strings.Cut(request, " ")
		if got := f.do(method, path, ""); got.status != 501 {
			t.Errorf("%s: %d %s", request, got.status, got.body)
		}
	}
	if len(reached) != 0 {
		t.Errorf("the target was asked for %v", reached)
	}
	var want []string
	for _, path := range inferenceRoutes {
		if startsWith(path, "/v1/") {
			want = append(want, path)
			f.do("POST", path, asksTiny).says(t, 200, "{}")
			if got := f.do("POST", path, `{"model":"nope"}`); got.status != 404 {
				t.Errorf("%s of a missing model: %d", path, got.status)
			}
		}
	}
	if !slices.Equal(reached, want) {
		t.Errorf("the target was asked for %v, want %v", reached, want)
	}
	for _, path := range []string{"/", "/api/version", "/api/tags", "/api/ps", "/v1/models", "/v1/models/tiny", "/healthz"} {
		if got := f.get(path); got.status != 200 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestOnlyWhoIsLetInLearnsWhatTheTargetSpeaks(t *testing.T) {
	f := start(t, tiny(), nil, everything, withTokens, v1Only)
	for _, path := range []string{"/api/chat", "/api/pull"} {
		if got := f.do("POST", path, asksTiny); got.status != 401 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}
