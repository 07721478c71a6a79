package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// switchable answers with whatever body it holds.
type switchable struct{ body atomic.Pointer[[]byte] }

func (s *switchable) set(body []byte) { s.body.Store(&body) }

func (s *switchable) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write(*s.body.Load())
}

func switchableBackend(tb testing.TB) (*Backend, *switchable) {
	tb.Helper()
	answer := new(switchable)
	return configured(tb, core.Settings{URL: serve(tb, answer.ServeHTTP)}), answer
}

func TestRecordedOrdersAreOneList(t *testing.T) {
	_, many := recordedReply(t, "tags-many.http")
	models, fault := decodeTags(many)
	if fault != nil {
		t.Fatal(fault)
	}
	raw := make(map[string]string)
	for _, m := range models {
		raw[m.Name] = string(m.Raw)
	}
	b, answer := switchableBackend(t)
	known, orders := "", 0
	for line := range strings.Lines(string(readRecording(t, "tags-order-8-calls.txt"))) {
		names := strings.Fields(line)[1:] // after how often it was seen
		var entries []string
		for _, name := range names {
			entries = append(entries, raw[name])
		}
		answer.set(tagsBody(entries))
		list := mustModels(t, b, known)
		if orders > 0 && (!list.Unchanged || list.Fingerprint != known) {
			t.Errorf("order %v is another list", names)
		}
		known = list.Fingerprint
		orders++
	}
	if orders != 7 {
		t.Errorf("%d recorded orders, want 7", orders)
	}
}

// Each row is the same list as tagsBody(entries), or another one.
func TestFingerprint(t *testing.T) {
	entries := []string{
		`{"name":"a","size":1,"note":"]}, \"{\\"}`,
		`{"name":"b","size":2,"list":[{"x":[]},{}]}`,
		`{"name":"c"}`,
	}
	body := string(tagsBody(entries))
	joined := func(e ...string) string { return string(tagsBody(e)) }
	for _, tt := range []struct {
		name, body string
		same       bool
	}{
		{"itself", body, true},
		{"newline after it", body + "\n", true},
		{"byte order mark", "\xef\xbb\xbf" + body, true},
		{"other order", joined(entries[2], entries[0], entries[1]), true},
		{"white space between", "{ \"models\" : [\n " + strings.Join(entries, " ,\n ") + " ]\t} ", true},
		{"another field", `{"next":null,"models":[` + strings.Join(entries, ",") + `],"x":{"models":[]}}`, true},
		{"escaped key", strings.Replace(body, "models", `mod\u0065ls`, 1), true},
		{"one less", joined(entries[:2]...), false},
		{"one twice", joined(append(entries, entries[0])...), false},
		{"one changed", strings.Replace(body, `"size":1`, `"size":7`, 1), false},
		{"unknown field changed", strings.Replace(body, `"x":[]`, `"x":[0]`, 1), false},
		{"a twin instead", joined(entries[0], entries[0], entries[2]), false},
		{"empty", `{"models":[]}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, answer := switchableBackend(t)
			answer.set([]byte(body))
			first := mustModels(t, b, "")
			answer.set([]byte(tt.body))
			second := mustModels(t, b, first.Fingerprint)
			if second.Unchanged != tt.same || (second.Fingerprint == first.Fingerprint) != tt.same {
				t.Errorf("same: %v, want %v", second.Unchanged, tt.same)
			}
			if got := len(second.Models); tt.same && got != 0 {
				t.Errorf("unchanged, with %d models", got)
			}
			// A backend that has seen nothing yet comes to the same end.
			fresh := mustModels(t, configured(t, core.Settings{URL: b.target.URL}), first.Fingerprint)
			if fresh.Unchanged != tt.same || fresh.Fingerprint != second.Fingerprint {
				t.Errorf("a fresh backend says same: %v, want %v", fresh.Unchanged, tt.same)
			}
		})
	}
}

// What only looks like a known list is judged like any other answer.
func TestKnownListWithBrokenFrame(t *testing.T) {
	good := string(tagsBody([]string{`{"name":"a"}`, `{"name":"b"}`}))
	for body, want := range map[string]core.Reason{
		good[:len(good)-1]:                       core.ReasonTruncated,
		good[:len(good)-2]:                       core.ReasonTruncated,
		good[:len(good)-4]:                       core.ReasonTruncated,
		good + "}":                               core.ReasonNotJSON,
		strings.Replace(good, "},{", "} {", 1):   core.ReasonNotJSON,
		strings.Replace(good, "},{", "},,{", 1):  core.ReasonNotJSON,
		strings.Replace(good, "}]", "},]", 1):    core.ReasonNotJSON,
		strings.Replace(good, "models", "Mo", 1): core.ReasonNoModels,
	} {
		b, answer := switchableBackend(t)
		answer.set([]byte(good))
		known := mustModels(t, b, "").Fingerprint
		answer.set([]byte(body))
		_, err := b.Models(t.Context(), known)
		if fault := core.FaultOf(err); fault.Reason != want {
			t.Errorf("%s: %s, want %s", body, fault.Reason, want)
		}
		answer.set([]byte(good))
		if !mustModels(t, b, known).Unchanged {
			t.Errorf("%s: the good list is forgotten", body)
		}
	}
}

// A caller may know the fingerprint of a list that this backend never decoded.
func TestKnownFingerprintIsNoProof(t *testing.T) {
	b, answer := switchableBackend(t)
	answer.set(tagsBody([]string{`{"name":"a"}`}))
	mustModels(t, b, "")
	broken := tagsBody([]string{`{"name":}`})
	known, _ := quickFingerprint(broken)
	answer.set(broken)
	_, err := b.Models(t.Context(), known)
	wantFault(t, err, core.ReasonNotJSON)
}

func TestListIsLeftOutOnlyIfItIsKnown(t *testing.T) {
	srv := startSim(t, sim.Model{Name: "a"}, sim.Model{Name: "b"})
	b := configured(t, core.Settings{URL: srv.URL()})
	first := mustModels(t, b, "")
	for _, known := range []string{"", "something else"} {
		if again := mustModels(t, b, known); again.Unchanged || len(again.Models) != 2 {
			t.Errorf("known %q: unchanged %v, %d models", known, again.Unchanged, len(again.Models))
		}
	}
	srv.Remove("a")
	second := mustModels(t, b, first.Fingerprint)
	if second.Unchanged || len(second.Models) != 1 {
		t.Errorf("after a removal: unchanged %v, %d models", second.Unchanged, len(second.Models))
	}
	srv.FailNext("/api/tags", 1, sim.Status(500, `{"error":"x"}`))
	if _, err := b.Models(t.Context(), second.Fingerprint); err == nil {
		t.Error("no error of a 500")
	}
	if !mustModels(t, b, second.Fingerprint).Unchanged {
		t.Error("a fault made the list another one")
	}
}

func TestRawIsWhatTheTargetSent(t *testing.T) {
	entries := []string{
		`{"name":"a\u001b[31m\u0000","capabilities":["tools",{"deep":[[]]}],"size":-0,"π":1e400}`,
		`{ "name" : "b" , "name" : "c",  "size":null,"details":null,"digest":null,"modified_at":null }`,
		`{"name":"d","Name":"D","SIZE":"no","Details":[],"details":{"Family":3,"family":"f","families":7}}`,
		`{"name":"d","Name":"D","SIZE":"no","Details":[],"details":{"Family":3,"family":"f","families":7}}`,
		"{\"name\":\"e\",\"model\":\"\ufffd\"}",
	}
	sent := slices.Clone(entries)
	sent[4] = "{\"name\":\"e\",\"model\":\"\xff\xfe\"}"
	b, answer := switchableBackend(t)
	answer.set(tagsBody(sent))
	list := mustModels(t, b, "")
	var raws, names []string
	for _, m := range list.Models {
		raws, names = append(raws, string(m.Raw)), append(names, m.Name)
	}
	if diff := cmp.Diff(entries, raws); diff != "" {
		t.Errorf("raw (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a\x1b[31m\x00", "c", "d", "d", "e"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if !mustModels(t, b, list.Fingerprint).Unchanged {
		t.Error("a list with invalid UTF-8 counts as changed each time")
	}
}

// Bodies are read into memory that earlier ones left behind.
func TestModelsSurviveLaterLooks(t *testing.T) {
	b, answer := switchableBackend(t)
	var lists []core.ModelList
	var bodies [][]byte
	for i := range 5 {
		bodies = append(bodies, tagsBody(manyEntries(50)[10*i:]))
		answer.set(bodies[i])
		list := mustModels(t, b, "")
		lists = append(lists, list)
		for range 3 {
			mustModels(t, b, list.Fingerprint)
		}
	}
	for i, list := range lists {
		var entries []string
		for _, m := range list.Models {
			entries = append(entries, string(m.Raw))
		}
		if !bytes.Equal(tagsBody(entries), bodies[i]) {
			t.Errorf("list %d was overwritten", i)
		}
	}
}

func TestHundredThousandModels(t *testing.T) {
	entries := manyEntries(100_000)
	b, answer := switchableBackend(t)
	answer.set(tagsBody(entries))
	list := mustModels(t, b, "")
	if len(list.Models) != len(entries) || list.Models[99_999].Name != "team99/model-99999:latest" {
		t.Fatalf("%d models, the last of them %q", len(list.Models), list.Models[len(list.Models)-1].Name)
	}
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	answer.set(tagsBody(entries))
	if !mustModels(t, b, list.Fingerprint).Unchanged {
		t.Error("another order is another list")
	}
}

func TestMemoryDoesNotGrow(t *testing.T) {
	entries := manyEntries(100)
	var bodies [][]byte
	for i := range 4 {
		bodies = append(bodies, tagsBody(entries[i:]))
	}
	b, answer := switchableBackend(t)
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // a pool lets go at the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	known := ""
	poll := func(n int) {
		for i := range n {
			answer.set(bodies[i/2%len(bodies)]) // every other one is changed
			known = mustModels(t, b, known).Fingerprint
		}
	}
	poll(100)
	before := heap()
	poll(1000)
	if grew := heap() - before; grew > 1<<20 {
		t.Errorf("%d KiB more after 1,000 polls", grew>>10)
	}
}

func TestLooksRunConcurrently(t *testing.T) {
	srv := startSim(t, sim.Model{Name: "a"}, sim.Model{Name: "b"}, sim.Model{Name: "c"})
	srv.Shuffle(true)
	srv.Load("a")
	b := configured(t, core.Settings{URL: srv.URL()})
	var looks sync.WaitGroup
	for i := range 8 {
		looks.Go(func() {
			known := ""
			for j := range 20 {
				if i == 0 {
					srv.Install(sim.Model{Name: fmt.Sprintf("n%d", j)})
				}
				list, err := b.Models(context.Background(), known)
				if err != nil {
					t.Error(err)
					return
				}
				known = list.Fingerprint
				for _, m := range list.Models {
					var entry struct{ Name string }
					if json.Unmarshal(m.Raw, &entry) != nil || entry.Name != m.Name {
						t.Errorf("%q has raw %s", m.Name, m.Raw)
					}
				}
				_, probeErr := b.Probe(context.Background())
				_, psErr := b.Running(context.Background())
				if err := errors.Join(probeErr, psErr); err != nil {
					t.Error(err)
				}
			}
		})
	}
	looks.Wait()
}

// A connection that was open while the target slept would fail the next look.
func TestEveryLookConnectsAnew(t *testing.T) {
	var mu sync.Mutex
	peers := make(map[string]bool)
	b := configured(t, core.Settings{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr] = true
		mu.Unlock()
		jsonBody(`{"models":[],"version":"1"}`)(w, r)
	})})
	for range 3 {
		mustModels(t, b, "")
		if _, err := b.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(peers) != 6 {
		t.Errorf("6 looks over %d connections", len(peers))
	}
}
