package api_test

import (
	"bufio"
	"encoding/json"
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
	"github.com/seed-af7fee88/foreman/core/api"
)

// A feed remembers a few events, whose IDs are e1, e2 and so on.
type feed struct {
	capacity int

	mu    sync.Mutex
	held  []core.Event
	count int
	newer chan struct{}
}

func newFeed(capacity int) *feed { return &feed{capacity: capacity, newer: make(chan struct{})} }

func (f *feed) publish(e core.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	e.ID = fmt.Sprintf("e%d", f.count)
	f.held = append(f.held, e)
	f.held = f.held[max(0, len(f.held)-f.capacity):]
	close(f.newer)
	f.newer = make(chan struct{})
}

func (f *feed) Since(id string) (list []core.Event, complete bool, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := f.count - len(f.held)
	at := slices.IndexFunc(f.held, func(e core.Event) bool { return e.ID == id })
	known := at >= 0 || id == "" && gone == 0 || id == fmt.Sprintf("e%d", gone)
	return slices.Clone(f.held[at+1:]), known, f.newer
}

// happens publishes an event of each type.
func (f *foreman) happens(kinds ...core.EventType) {
	for _, kind := range kinds {
		f.events.publish(core.Event{
			Type: kind, At: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), Target: upstream,
			Sentence: "it\nhappened", Data: json.RawMessage("{\n\t\"a\": 1\n}"),
		})
	}
}

// A stream is an open answer to GET /events.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Reader
}

func (f *foreman) follow(path string, header ...string) *stream {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), "GET", "http://localhost:11435"+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		f.t.Fatalf("%s: %+v", path, read(f.t, resp))
	}
	f.t.Cleanup(func() { resp.Body.Close() })
	return &stream{f.t, resp, bufio.NewReader(resp.Body)}
}

// frame is the next frame without the empty line at its end, and "" at the
// stream's.
func (s *stream) frame() string {
	s.t.Helper()
	var frame strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if err == io.EOF && line == "" && frame.Len() == 0 {
			return ""
		}
		if err != nil {
			s.t.Fatalf("%q, then %v", frame.String()+line, err)
		}
		if line == "\n" {
			return frame.String()
		}
		frame.WriteString(line)
	}
}

// ids are the first lines of the next n frames.
func (s *stream) ids(n int) []string {
	s.t.Helper()
	var ids []string
	for range n {
		id, _, _ := strings.Cut(s.frame(), "\n")
		ids = append(ids, strings.TrimPrefix(id, "id: "))
	}
	return ids
}

func TestEventsAreToldAsTheyHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.happens(core.EventDegraded) // before anybody listens
		s := f.follow("/events")
		if h := s.resp.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" {
			t.Errorf("%v", h)
		}
		for range 3 {
			time.Sleep(time.Second)
			f.happens(core.EventRecovered, core.EventModelAdded)
			synctest.Wait()
		}
		want := `id: e2
event: recovered
data: {"id":"e2","type":"recovered","at":"2026-11-23T08:00:00Z","target":"` + upstream + `","sentence":"it\nhappened","data":{"a":1}}
`
		if diff := cmp.Diff(want, s.frame()); diff != "" {
			t.Errorf("frame (-want +got):\n%s", diff)
		}
		if got := s.ids(5); !slices.Equal(got, []string{"e3", "e4", "e5", "e6", "e7"}) {
			t.Errorf("then %q", got)
		}
	})
}

// A caller may listen before there is any event at all.
func TestTheFirstEventOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		s := f.follow("/events")
		f.happens(core.EventDegraded)
		if got := s.ids(1); got[0] != "e1" {
			t.Errorf("%q", got)
		}
	})
}

func TestEventsAreReplayed(t *testing.T) {
	for name, c := range map[string]struct {
		query, header string
		want          []string
	}{
		"after the last one seen":    {"", "Last-Event-ID: e4", []string{"e5", "new"}},
		"nothing came since":         {"", "Last-Event-ID: e5", []string{"new"}},
		"just within memory":         {"", "Last-Event-ID: e2", []string{"e3", "e4", "e5", "new"}},
		"some are forgotten":         {"", "Last-Event-ID: e1", []string{"event: gap", "e3", "e4", "e5", "new"}},
		"an ID of another life":      {"", "Last-Event-ID: 01ARZ3", []string{"event: gap", "e3", "e4", "e5", "new"}},
		"by query":                   {"?last_event_id=e4", "Accept: */*", []string{"e5", "new"}},
		"the header is newer":        {"?last_event_id=e3", "Last-Event-ID: e4", []string{"e5", "new"}},
		"only some types":            {"?types=recovered,model_*", "Last-Event-ID: e2", []string{"e4", "new"}},
		"only some types, otherwise": {"?types=recovered&types=model_%3fdded", "Last-Event-ID: e2", []string{"e4", "new"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, nothing(), nil)
			f.events.capacity = 3
			f.happens(core.EventDegraded, core.EventRecovered, core.EventDegraded, core.EventRecovered, core.EventDegraded)
			s := f.follow("/events"+c.query, c.header)
			synctest.Wait()
			f.happens(core.EventModelAdded)
			got := s.ids(len(c.want))
			if got[len(got)-1] == "e6" {
				got[len(got)-1] = "new"
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		})
	}
}

func TestAGapNamesTheEventBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		if got, want := f.follow("/events?last_event_id=x%0Aid:+e9").frame(), "event: gap\ndata: {\"after\":\"x\\nid: e9\"}\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestASilentStreamShowsThatItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		s := f.follow("/events?types=test")
		time.Sleep(10 * time.Second)
		f.happens(core.EventDegraded) // which isn't wanted
		for i := range 20 {           // for longer than a write may take
			if got := s.frame(); got != ":\n" {
				t.Fatalf("%q", got)
			}
			if at := time.Since(epoch); at != time.Duration(i+1)*15*time.Second {
				t.Errorf("beat %d after %v", i, at)
			}
		}
		f.happens(core.EventTest)
		if got := s.ids(1); got[0] != "e2" {
			t.Errorf("then %q", got)
		}
	})
}

// epoch is when a bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestEventsThatNobodyCanHear(t *testing.T) {
	f := start(t, nothing(), nil, withTokens)
	const token = "X-Api-Key: bob secret"
	for path, want := range map[string]string{
		"/events?types=degradd":   `no type of event matches "degradd"`,
		"/events?types=":          `no type of event matches ""`,
		"/events?types=degraded,": `no type of event matches ""`,
		"/events?types=[":         `no type of event matches "["`,
	} {
		if got := f.get(path, token); got.status != 400 || got.native(t) != want {
			t.Errorf("%s: %d %s, want %s", path, got.status, got.body, want)
		}
	}
	for _, header := range []string{"Accept: */*", "X-Api-Key: wrong"} {
		if got := f.get("/events", header); got.status != 401 {
			t.Errorf("%s: %d", header, got.status)
		}
	}
	if got := f.get("/events", token, "Host: evil.example"); got.status != 403 {
		t.Errorf("another host: %d", got.status)
	}
	for range 100 { // none of which stays
		if got := f.do("HEAD", "/events", "", token); got.status != 200 || got.header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("HEAD: %d %v", got.status, got.header)
		}
	}
}

func TestStoppingDoesNotWaitForStreamsOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		first, second := f.follow("/events"), f.follow("/events")
		synctest.Wait()
		f.stop()
		if a, b := first.frame(), second.frame(); a != "" || b != "" {
			t.Errorf("%q, %q", a, b)
		}
		<-f.stopped
		if took := time.Since(epoch); took >= time.Second {
			t.Errorf("Run took %v to end", took)
		}
	})
}

func TestWhoIsOutrunByEventsIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.events.capacity = 3
		s := f.follow("/events")
		synctest.Wait()
		for range 200 { // enough for what lies in buffers on the way
			f.happens(core.EventDegraded, core.EventRecovered)
			synctest.Wait()
		}
		last := 0
		for frame := s.frame(); frame != ""; frame = s.frame() {
			last++
			if want := fmt.Sprintf("id: e%d\n", last); !strings.HasPrefix(frame, want) {
				t.Fatalf("%q where %q is due", frame, want)
			}
		}
		if last == 0 || last == 400 {
			t.Errorf("%d events came", last)
		}
		if got := f.follow("/events", fmt.Sprintf("Last-Event-ID: e%d", last)).frame(); !startsWith(got, "event: gap\n") {
			t.Errorf("on its return it is told %q", got)
		}
	})
}

func TestEventsThatAreNotWantedOutrunNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.events.capacity = 3
		s := f.follow("/events?types=test")
		for range 10 {
			f.happens(core.EventDegraded)
			synctest.Wait()
		}
		f.happens(core.EventTest)
		if got := s.ids(1); got[0] != "e11" {
			t.Errorf("%q", got)
		}
	})
}

func TestWhoDoesNotReadEventsIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		conn := f.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Second)
		if n, err := io.Copy(io.Discard, conn); n > 0 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestHowManyMayFollowEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		var streams []*stream
		for range 64 {
			streams = append(streams, f.follow("/events"))
		}
		got := f.get("/events")
		got.says(t, 429, `{"error":"64 others follow the events already"}`)
		if got.header.Get("Retry-After") != "2" {
			t.Errorf("%v", got.header)
		}
		if got := f.get("/livez"); got.status != 200 {
			t.Errorf("and everybody else: %d", got.status)
		}
		streams[7].resp.Body.Close()
		synctest.Wait()
		f.follow("/events")
	})
}

// Whoever is shut out by a change of the options hears no more.
func TestATokenThatIsTakenAwayHearsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil, withTokens)
		alice, bob := f.follow("/events", "X-Api-Key: alice-secret-0123456789"), f.follow("/events", "X-Api-Key: bob secret")
		synctest.Wait()
		f.change(func(o *api.Options) { o.Tokens = map[string]string{"bob": "bob secret"} })
		f.happens(core.EventDegraded)
		if got := bob.ids(1); got[0] != "e1" {
			t.Errorf("bob hears %q", got)
		}
		if got := alice.frame(); got != "" {
			t.Errorf("alice hears %q", got)
		}
	})
}
