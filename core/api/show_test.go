package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// shown is a foreman in front of a simulated Ollama with two models, one of
// which has been asked about once.
func shown(t *testing.T, request string) (f *foreman, target *sim.Server, before answer) {
	t.Helper()
	target = sim.New(sim.Options{Models: []sim.Model{{Name: "tiny"}, {Name: "other"}}, Instant: true})
	t.Cleanup(func() { target.Close() })
	f = start(t, found(named("tiny:latest"), named("other:latest")), target.Handler())
	f.recheck = func(_ context.Context, s *core.Snapshot) *core.Snapshot { return s }
	before = f.do("POST", "/api/show", request)
	if before.status != 200 || !strings.Contains(before.body, `"modelfile"`) {
		t.Fatalf("%s: %d %s", request, before.status, before.body)
	}
	return f, target, before
}

// stockCLI is what the stock client's show command sends.
const stockCLI = `{"model":"","system":"","template":"","verbose":false,"options":null,"name":"tiny"}`

func TestShowIsPassedToTheTarget(t *testing.T) {
	target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/x-"+r.Header.Get("Authorization"))
		fmt.Fprintf(w, "%s %s%s %s %s", r.Method, r.Host, r.URL, r.Header.Get("X-Api-Key"), body)
	})
	f := start(t, found(named("tiny:latest")), target, func(o *setup) {
		o.Tokens = map[string]string{"alice": "secret"}
		o.Upstream = func() (core.Upstream, error) {
			return core.Upstream{URL: upstream + "/base", Header: http.Header{"Authorization": {"target"}}}, nil
		}
	})
	for _, body := range []string{stockCLI, `{"model":"tiny"}`, ` {"unheard_of":[1, 2.50], "model":"TINY"}`} {
		got := f.do("POST", "/api/show?x", body, "Authorization: Bearer secret", "X-Api-Key: secret", "Cookie: a=b")
		want := "POST ollama.test:11434/base/api/show  " + body
		if got.status != 200 || got.body != want || got.header.Get("Content-Type") != "application/x-target" {
			t.Errorf("%d %s %v\nwant %s", got.status, got.body, got.header, want)
		}
	}
}

func TestShowPassesTheTargetsRefusalsUnchanged(t *testing.T) {
	target := sim.New(sim.Options{Instant: true})
	defer target.Close()
	f := start(t, found(named("nope:latest")), target.Handler())
	got := f.do("POST", "/api/show", `{"model":"nope"}`) // deleted since the last poll
	if got.status != 404 || got.body != `{"error":"model 'nope' not found"}` {
		t.Errorf("%d %s", got.status, got.body)
	}
	target.FailNext("/api/show", 1, sim.Status(500, `{"error":"EOF"}`))
	if got := f.do("POST", "/api/show", `{"model":"nope"}`); got.status != 500 || got.body != `{"error":"EOF"}` {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestShowIsRememberedWhileTheTargetIsAway(t *testing.T) {
	for name, leave := range map[string]func(f *foreman, target *sim.Server){
		"refused, not noticed yet": func(f *foreman, _ *sim.Server) { f.leave() },
		"refused, degraded":        func(f *foreman, _ *sim.Server) { f.leave(); f.believe(lost(f.Snapshot())) },
		"resets":                   func(_ *foreman, target *sim.Server) { target.Fail("*", sim.Reset()) },
		"truncates":                func(_ *foreman, target *sim.Server) { target.Fail("*", sim.Truncate([]byte(`{"modelfile":1}`), 9)) },
		"redirects":                func(_ *foreman, target *sim.Server) { target.Fail("*", sim.Redirect("http://evil.example/")) },
		"behind a gateway":         func(_ *foreman, target *sim.Server) { target.Fail("*", sim.Status(502, "Bad Gateway")) },
	} {
		for _, request := range []string{stockCLI, `{"model":"tiny"}`, `{"name":"TINY:latest","verbose":true}`} {
			t.Run(name+request, func(t *testing.T) {
				f, target, before := shown(t, request)
				leave(f, target)
				for range 2 {
					got := f.do("POST", "/api/show", request)
					got.header.Del("Date")
					before.header.Del("Date")
					if diff := cmp.Diff(before, got, cmp.AllowUnexported(answer{})); diff != "" {
						t.Errorf("(-before +now):\n%s", diff)
					}
				}
			})
		}
	}
}

func TestShowOfATargetThatHangsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, target, before := shown(t, stockCLI)
		target.Fail("*", sim.Hang())
		began := time.Now()
		if got := f.do("POST", "/api/show", stockCLI); got.body != before.body || time.Since(began) != 2*time.Second {
			t.Errorf("one that is remembered: %d %s after %v", got.status, got.body, time.Since(began))
		}
		if _, nudges := f.asked(); nudges != 1 {
			t.Errorf("asked for %d looks at a target that hangs", nudges)
		}
		began = time.Now()
		got := f.do("POST", "/api/show", `{"model":"other"}`)
		got.says(t, 503, `{"error":"foreman can't reach its target: timeout"}`)
		if after := got.header.Get("Retry-After"); after != "2" || time.Since(began) != 10*time.Second {
			t.Errorf("Retry-After %q, after %v", after, time.Since(began))
		}
	})
}

func TestShowThatIsNotRememberedIsA503WhileTheTargetIsAway(t *testing.T) {
	f, _, _ := shown(t, stockCLI)
	f.leave()
	f.do("POST", "/api/show", `{"model":"other"}`).says(t, 503, `{"error":"foreman can't reach its target: refused"}`)
	f.away.Store(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}})
	f.do("POST", "/api/show", `{"model":"other"}`).says(t, 503, `{"error":"foreman can't reach its target: dns"}`)
	f.leave()
	f.believe(lost(f.Snapshot()))
	got := f.do("POST", "/api/show", `{"model":"other"}`)
	got.says(t, 503, `{"error":"foreman can't reach its target: refused"}`)
	if got.header.Get("Retry-After") != "2" {
		t.Errorf("%v", got.header)
	}
}

// The stock client's run begins with a show.
// A target that lives and takes long would only begin anew.
func TestShowThatTakesLongIsNotAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		f := start(t, tiny(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}), retryFor(time.Minute))
		began := time.Now()
		f.do("POST", "/api/show", stockCLI).says(t, 503, `{"error":"foreman can't reach its target: timeout"}`)
		if took := time.Since(began); asked.Load() != 1 || took != 10*time.Second {
			t.Errorf("given up after %v, asked %d times", took, asked.Load())
		}
	})
}

func TestShowThatIsNotRememberedWaitsForTheTarget(t *testing.T) {
	for _, degraded := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				fmt.Fprint(w, "{}")
			}), retryFor(time.Minute))
			f.leave()
			if degraded {
				f.believe(lost(f.Snapshot()))
			}
			time.AfterFunc(30*time.Second, func() { f.away.Store(nil) })
			began := time.Now()
			f.do("POST", "/api/show", stockCLI).says(t, 200, "{}")
			if took := time.Since(began); asked != 1 || took < 30*time.Second || took > 33*time.Second {
				t.Errorf("answered after %v, asked %d times", took, asked)
			}
			f.leave()
			began = time.Now()
			f.do("POST", "/api/show", stockCLI).says(t, 200, "{}")
			if took := time.Since(began); took != 0 {
				t.Errorf("what is remembered waits for %v", took)
			}
			f.do("POST", "/api/show", `{"model":"tiny","verbose":true}`).says(t, 503, `{"error":"foreman can't reach its target: refused"}`)
			if took := time.Since(began); took < 57*time.Second || took > time.Minute {
				t.Errorf("gives up after %v", took)
			}
		})
	}
}

func TestShowThatIsAnsweredBadlyIsNotAskedForAgain(t *testing.T) {
	asked := 0
	f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}), retryFor(time.Minute))
	f.do("POST", "/api/show", stockCLI).says(t, 503, `{"error":"foreman can't reach its target: redirect"}`)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestShowReachesATargetThatIsBackUnnoticed(t *testing.T) {
	f, _, _ := shown(t, stockCLI)
	f.believe(lost(f.Snapshot()))
	for _, gone := range []bool{false, true} {
		if gone {
			f.leave()
		}
		if got := f.do("POST", "/api/show", `{"model":"other"}`); got.status != 200 {
			t.Errorf("gone again: %v: %d %s", gone, got.status, got.body)
		}
	}
}

func TestShowOfAModelWithoutADigestIsNotRemembered(t *testing.T) {
	f, _, _ := shown(t, stockCLI)
	f.believe(found(model(`{"name":"tiny:latest","modified_at":"2026-11-23T08:19:04Z"}`)))
	if got := f.do("POST", "/api/show", stockCLI); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	f.leave()
	if got := f.do("POST", "/api/show", stockCLI); got.status != 503 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestShowEndsWhenTheCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := sim.New(sim.Options{Instant: true})
		left := make(chan time.Time, 1)
		target.Fail("/api/show", func(w http.ResponseWriter, r *http.Request) {
			defer func() { left <- time.Now() }()
			sim.Hang()(w, r)
		})
		f := start(t, found(named("tiny:latest")), target.Handler())
		began := time.Now()
		f.client.Timeout = time.Second
		if _, err := f.client.Post("http://localhost/api/show", "", strings.NewReader(stockCLI)); err == nil {
			t.Error("it was answered")
		}
		if took := (<-left).Sub(began); took != time.Second {
			t.Errorf("the target is held for %v", took)
		}
		target.Close()
		if log := f.log.String(); log != "" {
			t.Errorf("logged: %s", log)
		}
	})
}

// other is tiny under another digest.
var other = model(`{"name":"tiny:latest","digest":"another","modified_at":"2026-11-23T08:19:04Z"}`)

// What is remembered is what was shown of this very model, asked in this way.
func TestShowForgets(t *testing.T) {
	for name, c := range map[string]struct {
		first, then string
		believed    *core.Snapshot
		want        int
	}{
		"another digest":        {stockCLI, stockCLI, found(other), 503},
		"deleted":               {stockCLI, stockCLI, found(), 404},
		"verbose":               {stockCLI, `{"model":"tiny","verbose":true}`, nil, 503},
		"a system prompt":       {stockCLI, `{"model":"tiny","system":"be brief"}`, nil, 503},
		"a template":            {stockCLI, `{"model":"tiny","template":"x"}`, nil, 503},
		"options":               {stockCLI, `{"model":"tiny","options":{"num_ctx":1}}`, nil, 503},
		"a field of the future": {stockCLI, `{"model":"tiny","future":true}`, nil, 503},
		"asked with options":    {`{"model":"tiny","options":{"num_ctx":1}}`, `{"model":"tiny"}`, nil, 503},
		"asked with the future": {`{"model":"tiny","future":true}`, `{"model":"tiny","future":true}`, nil, 503},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, _ := shown(t, c.first)
			if c.believed != nil {
				f.believe(c.believed)
			}
			for _, degraded := range []bool{false, true} {
				f.leave()
				if degraded {
					f.believe(lost(f.Snapshot()))
				}
				if got := f.do("POST", "/api/show", c.then); got.status != c.want {
					t.Errorf("degraded %v: %d %s, want %d", degraded, got.status, got.body, c.want)
				}
			}
		})
	}
}

func TestShowIsTheTargetsNewestWordWhileItIsThere(t *testing.T) {
	f, target, before := shown(t, stockCLI)
	target.FailNext("/api/show", 1, sim.Body("application/json", []byte(`{"modelfile":"new"}`)))
	if got := f.do("POST", "/api/show", stockCLI); got.body == before.body {
		t.Errorf("answered from memory: %s", got.body)
	}
	target.FailNext("/api/show", 1, sim.Status(404, `{"error":"model 'tiny' not found"}`))
	if got := f.do("POST", "/api/show", stockCLI); got.status != 404 {
		t.Errorf("deleted since the last poll: %d %s", got.status, got.body)
	}
	f.leave()
	if got := f.do("POST", "/api/show", stockCLI); got.body != `{"modelfile":"new"}` {
		t.Errorf("remembered %s", got.body)
	}
}

func TestShowRemembersABoundedNumber(t *testing.T) {
	const models = 600
	var installed []core.Model
	for i := range models {
		installed = append(installed, named(fmt.Sprintf("m%d:latest", i)))
	}
	f := start(t, found(installed...), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{}`)
	}))
	ask := func(i int) int { return f.do("POST", "/api/show", fmt.Sprintf(`{"model":"m%d"}`, i)).status }
	for i := range models {
		ask(i)
		ask(i) // a second answer takes the place of the first
	}
	f.leave()
	remembered := 0
	for i := range models {
		if ask(i) == 200 {
			remembered++
		}
	}
	if remembered != 512 || ask(models-1) != 200 || ask(0) != 503 {
		t.Errorf("%d of %d are remembered, the newest: %d, the oldest: %d", remembered, models, ask(models-1), ask(0))
	}
}

func TestShowBodyIsBounded(t *testing.T) {
	target := sim.New(sim.Options{Models: []sim.Model{{Name: "tiny"}}, Instant: true})
	defer target.Close()
	f := start(t, found(named("tiny:latest")), target.Handler(), func(o *setup) { o.MaxBody = 1000 })
	body := `{"model":"tiny","system":"` + strings.Repeat("x", 1000) + `"}`
	for _, encoding := range []string{"Content-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body,
		"Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)} {
		got := f.raw("POST /api/show HTTP/1.1\r\nHost: localhost\r\n" + encoding)
		got.says(t, 413, `{"error":"the request's body is over 1000 bytes; server.max_body sets the limit"}`)
	}
	if got := f.do("POST", "/api/show", body[:len(`{"model":"tiny","system":"`)]+strings.Repeat("x", 1000-28)+`"}`); got.status != 200 {
		t.Errorf("a body of 1000 bytes: %d %s", got.status, got.body)
	}
	if n := target.Requests("/api/show"); n != 1 {
		t.Errorf("the target got %d requests", n)
	}
}

func TestShowBodyThatIsBroken(t *testing.T) {
	f := start(t, found(), nil)
	got := f.raw("POST /api/show HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	got.says(t, 400, `{"error":"the request's body can't be read to its end"}`)
	if f.log.String() != "" {
		t.Errorf("it is logged as foreman's own fault: %s", f.log)
	}
}

func TestShowAnswerThatIsHuge(t *testing.T) {
	target := sim.New(sim.Options{Instant: true})
	defer target.Close()
	target.Fail("/api/show", func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 65 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	f := start(t, found(named("tiny:latest")), target.Handler())
	f.do("POST", "/api/show", stockCLI).says(t, 503, `{"error":"foreman can't reach its target: too_large"}`)
}

func TestShowWhileThePluginIsDown(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, func(o *setup) {
		o.Upstream = func() (core.Upstream, error) { return core.Upstream{}, core.ErrUnavailable }
	})
	got := f.do("POST", "/api/show", stockCLI)
	got.says(t, 503, `{"error":"the plugin is not running"}`)
	if !json.Valid([]byte(got.body)) || got.header.Get("Retry-After") == "" {
		t.Errorf("%v", got.header)
	}
}
