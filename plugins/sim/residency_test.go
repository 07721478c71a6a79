package sim_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

type psEntry struct {
	Name          string
	Digest        string
	Size          int64
	SizeVRAM      int64     `json:"size_vram"`
	ContextLength int64     `json:"context_length"`
	ExpiresAt     time.Time `json:"expires_at"`
}

func ps(t *testing.T, s *sim.Server) []psEntry {
	t.Helper()
	return decodeJSON[struct{ Models []psEntry }](t, call(s, "GET", "/api/ps", "").Body.String()).Models
}

// resident is the names in /api/ps, in order.
func resident(t *testing.T, s *sim.Server) string {
	t.Helper()
	var all []string
	for _, m := range ps(t, s) {
		all = append(all, strings.TrimSuffix(m.Name, ":latest"))
	}
	return strings.Join(all, " ")
}

func wantResident(t *testing.T, s *sim.Server, step, want string) {
	t.Helper()
	if got := resident(t, s); got != want {
		t.Errorf("%s: resident are %q, want %q", step, got, want)
	}
}

// load is a request that only loads, and how long it took.
func load(s *sim.Server, model, keepAlive string) time.Duration {
	began := time.Now()
	body := fmt.Sprintf(`{"model":%q}`, model)
	if keepAlive != "" {
		body = fmt.Sprintf(`{"model":%q,"keep_alive":%s}`, model, keepAlive)
	}
	call(s, "POST", "/api/generate", body)
	return time.Since(began)
}

func TestLoadingTakesItsTimeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{Models: []sim.Model{{Name: "a", Size: 5, Context: 2048, Load: 3 * time.Second}}})
		if took := load(s, "a", ""); took != 3*time.Second {
			t.Errorf("the first request took %v, want 3s", took)
		}
		if took := load(s, "a", ""); took != 0 {
			t.Errorf("the second took %v, want no time", took)
		}
		got := ps(t, s)
		want := []psEntry{{
			Name: "a:latest", Digest: got[0].Digest, Size: 5, SizeVRAM: 5, ContextLength: 2048,
			ExpiresAt: time.Now().Add(5 * time.Minute),
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ps (-want +got):\n%s", diff)
		}
	})
}

func TestOneModelLoadsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{Models: []sim.Model{{Name: "a", Load: 2 * time.Second}, {Name: "b", Load: 2 * time.Second}}})
		began := time.Now()
		var all sync.WaitGroup
		for _, name := range []string{"a", "b", "a"} {
			all.Go(func() { load(s, name, "") })
		}
		time.Sleep(time.Second)
		wantResident(t, s, "while the first loads", "")
		all.Wait()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("two models loaded in %v, want 4s", took)
		}
		if n := len(ps(t, s)); n != 2 {
			t.Errorf("%d are resident, want 2", n)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	const pinned = 290 * 365 * 24 * time.Hour // and then some
	for _, c := range []struct {
		keep string
		want time.Duration
	}{
		{"", 5 * time.Minute}, {"null", 5 * time.Minute},
		{`"10s"`, 10 * time.Second}, {"30", 30 * time.Second}, {"1.5", 1500 * time.Millisecond}, {`"24h"`, 24 * time.Hour},
		{"-1", pinned}, {`"-1m"`, pinned}, {"1e300", pinned},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := sim.New(sim.Options{Models: []sim.Model{{Name: "a"}}})
			load(s, "a", c.keep)
			stays := time.Until(ps(t, s)[0].ExpiresAt)
			if c.want == pinned {
				if stays < pinned {
					t.Errorf("keep_alive %s: stays %v, want for ever", c.keep, stays)
				}
				time.Sleep(1000 * time.Hour)
				wantResident(t, s, "keep_alive "+c.keep, "a")
				return
			}
			if stays != c.want {
				t.Errorf("keep_alive %s: stays %v, want %v", c.keep, stays, c.want)
			}
			time.Sleep(c.want - time.Nanosecond)
			wantResident(t, s, "just before its end", "a")
			time.Sleep(time.Nanosecond)
			wantResident(t, s, "at its end", "")
		})
	}
}

func TestEachRequestSetsKeepAliveAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{Models: []sim.Model{{Name: "a"}}})
		for _, c := range []struct {
			keep string
			want time.Duration
		}{{"60", time.Minute}, {"", time.Minute}, {`"1h"`, time.Hour}, {"1", time.Second}} {
			load(s, "a", c.keep)
			if stays := time.Until(ps(t, s)[0].ExpiresAt); stays != c.want {
				t.Errorf("keep_alive %q: stays %v, want %v", c.keep, stays, c.want)
			}
		}
	})
}

func TestKeepAliveZeroUnloads(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "a"}, {Name: "e", Embedding: true}}, Instant: true})
	for _, zero := range []string{`0`, `"0"`, `"0s"`} {
		s.Load("a")
		body := call(s, "POST", "/api/generate", `{"model":"a","keep_alive":`+zero+`}`).Body.String()
		if !strings.Contains(body, `"done_reason":"unload"`) {
			t.Errorf("keep_alive %s: %s", zero, body)
		}
		wantResident(t, s, "keep_alive "+zero, "")
	}
	s.Load("e")
	load(s, "e", "0") // what `ollama stop` does, for any model
	wantResident(t, s, "embedding model stopped", "")
	call(s, "POST", "/api/chat", `{"model":"a","messages":[{"role":"user","content":"hi"}],"keep_alive":0}`)
	wantResident(t, s, "after an answer with keep_alive 0", "")
}

func TestBadKeepAliveIsRefusedInOllamasWords(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "a"}}, Instant: true})
	for keep, want := range map[string]string{
		`"-1"`: `{"error":"time: missing unit in duration \"-1\""}`,
		`"x"`:  `{"error":"time: invalid duration \"x\""}`,
		`""`:   `{"error":"time: invalid duration \"\""}`,
		`true`: `{"error":"Unsupported type: 'bool'"}`,
	} {
		w := call(s, "POST", "/api/generate", `{"model":"a","keep_alive":`+keep+`}`)
		if w.Code != 400 || w.Body.String() != want {
			t.Errorf("keep_alive %s: %d %s, want 400 %s", keep, w.Code, w.Body, want)
		}
	}
}

func TestEvictsTheLeastRecentlyUsedAndPinnedOnesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{VRAM: 10, Models: []sim.Model{
			{Name: "pinned", Size: 3}, {Name: "b", Size: 3}, {Name: "c", Size: 3}, {Name: "d", Size: 3},
			{Name: "most", Size: 8},
		}})
		for _, name := range []string{"pinned", "b", "c", "b"} {
			if name == "pinned" {
				s.Pin(name)
			} else {
				load(s, name, "")
			}
			time.Sleep(time.Second)
		}
		load(s, "d", "")
		wantResident(t, s, "c was used least recently", "pinned d b")
		load(s, "most", "")
		wantResident(t, s, "all had to go", "most")
	})
}

func TestAModelLargerThanTheGPUIsPartlyOnTheCPU(t *testing.T) {
	s := sim.New(sim.Options{VRAM: 10, Models: []sim.Model{{Name: "small", Size: 4}, {Name: "huge", Size: 25}}, Instant: true})
	load(s, "small", "")
	load(s, "huge", "")
	got := ps(t, s)
	if len(got) != 1 || got[0].Size != 25 || got[0].SizeVRAM != 10 {
		t.Errorf("resident: %+v, want huge alone with 10 of its 25 bytes on the GPU", got)
	}
}

func TestBusyModelsAreNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{VRAM: 10, Models: []sim.Model{
			{Name: "busy", Size: 8, TokensPerSecond: 1}, {Name: "next", Size: 8, Load: time.Second},
		}})
		var all sync.WaitGroup
		first := time.Now()
		var answered, loaded time.Duration
		all.Go(func() {
			call(s, "POST", "/api/generate", `{"model":"busy","prompt":"hi","options":{"num_predict":5}}`)
			answered = time.Since(first)
		})
		synctest.Wait()
		all.Go(func() {
			load(s, "next", "")
			loaded = time.Since(first)
		})
		synctest.Wait()
		// Whoever comes now queues behind next, or it would wait for ever.
		all.Go(func() { load(s, "busy", "") })
		time.Sleep(3 * time.Second)
		wantResident(t, s, "in mid-answer", "busy")
		all.Wait()
		if loaded != answered+time.Second {
			t.Errorf("next was loaded after %v, want 1s after the answer's end at %v", loaded, answered)
		}
		wantResident(t, s, "at the end", "busy")
	})
}

func TestACallerThatLeavesEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{VRAM: 10, Models: []sim.Model{
			{Name: "slow", Size: 8, Load: time.Hour},
			{Name: "chatty", Size: 8, TokensPerSecond: 0.001, Load: time.Second},
			{Name: "quick", Size: 8, Load: time.Second},
		}})
		leave := func(name string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			r := httptest.NewRequestWithContext(ctx, "POST", "/api/generate", strings.NewReader(`{"model":"`+name+`","prompt":"hi"}`))
			s.Handler().ServeHTTP(httptest.NewRecorder(), r)
			if took := time.Since(began); took != time.Minute {
				t.Errorf("%s: worked for %v, its caller left after 1m", name, took)
			}
		}
		leave("slow")
		wantResident(t, s, "left while loading", "")
		leave("chatty")
		wantResident(t, s, "left in mid-answer", "chatty")
		var waiting sync.WaitGroup
		waiting.Go(func() {
			call(s, "POST", "/api/generate", `{"model":"chatty","prompt":"hi","options":{"num_predict":1}}`)
		})
		synctest.Wait()
		leave("slow") // while it waits for room
		waiting.Wait()
		if took := load(s, "chatty", ""); took != 0 {
			t.Errorf("the resident model was loaded again, in %v", took)
		}
		if took := load(s, "quick", ""); took != time.Second {
			t.Errorf("the next model took %v, want 1s", took)
		}
	})
}

func TestCloseEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{Models: []sim.Model{{Name: "slow", Load: time.Hour}}})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { load(s, "slow", "") })
		}
		synctest.Wait()
		began := time.Now()
		s.Close()
		all.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		if w := call(s, "GET", "/api/tags", ""); w.Code != 503 {
			t.Errorf("a closed server answers %d", w.Code)
		}
	})
}

func TestCloseWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{})
		s.Fail("*", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			time.Sleep(time.Second)
		})
		go call(s, "GET", "/", "")
		synctest.Wait()
		began := time.Now()
		s.Close()
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v, the handler 1s", took)
		}
	})
}

// Over the wire the server must find out by itself that a caller has left.
func TestACallerThatHangsUpEndsTheWork(t *testing.T) {
	s := start(t, sim.Options{Models: []sim.Model{{Name: "slow", Load: time.Hour}, {Name: "quick"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	// There is more of the body to read than the JSON.
	body := `{"model":"slow"}` + strings.Repeat(" ", 1<<20)
	if resp, err := request(ctx, "POST", s.URL()+"/api/generate", body); err == nil {
		resp.Body.Close()
		t.Fatal("an hour's load was answered at once")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := request(ctx, "POST", s.URL()+"/api/generate", `{"model":"quick"}`)
	if err != nil {
		t.Fatalf("the load goes on without its caller: %v", err)
	}
	resp.Body.Close()
}

func TestRunnersAreKeptByDigest(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "a", Digest: "d1"}, {Name: "alias", Digest: "d1"}}, Instant: true})
	load(s, "a", "")
	load(s, "alias", "")
	wantResident(t, s, "two names of one digest", "a")
	s.Install(sim.Model{Name: "a", Digest: "d2"})
	load(s, "a", "")
	wantResident(t, s, "made anew", "a a")
	s.Remove("a")
	wantResident(t, s, "removed", "a a")
	s.Unload("a")
	wantResident(t, s, "unloaded", "")
}

func TestScriptedResidency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{
			Models:    []sim.Model{{Name: "a", Load: time.Hour}, {Name: "b"}},
			KeepAlive: time.Minute,
		})
		s.Load("a")
		s.Pin("b")
		wantResident(t, s, "loaded", "b a")
		time.Sleep(time.Minute)
		wantResident(t, s, "a minute later", "b")
		s.Unload("B:latest")
		wantResident(t, s, "unloaded", "")
	})
}
