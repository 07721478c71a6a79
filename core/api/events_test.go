package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
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

// More events than there are encoded frames in memory are told all the same.
func TestManyEventsAreReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.events.capacity = 1000
		var want []string
		for i := range 1000 {
			f.happens(core.EventTest)
			want = append(want, fmt.Sprintf("e%d", i+1))
		}
		for range 2 {
			if diff := cmp.Diff(want[1:], f.follow("/events?last_event_id=e1").ids(999)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
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

// Of those who all take what they get the one that came first makes room. It
// comes again, and has missed nothing.
func TestOneStreamOfEventsTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.happens(core.EventDegraded)
		var streams []*stream
		for range 64 {
			streams = append(streams, f.follow("/events?types=test"))
		}
		for range 100 { // which are no streams
			f.do("HEAD", "/events", "")
		}
		synctest.Wait()
		f.happens(core.EventRecovered, core.EventTest)
		for _, s := range streams {
			if got := s.ids(1); got[0] != "e3" {
				t.Fatalf("%q", got)
			}
		}
		f.happens(core.EventRecovered) // which isn't wanted, but seen
		synctest.Wait()
		streams = append(streams, f.follow("/events"))
		if got, end := streams[0].frame(), streams[0].frame(); got != "id: e4\n" || end != "" {
			t.Errorf("the first ends with %q, then %q", got, end)
		}
		f.happens(core.EventTest)
		for _, s := range streams[1:] {
			if got := s.ids(1); got[0] != "e5" {
				t.Fatalf("%q", got)
			}
		}
		streams[7].resp.Body.Close()
		synctest.Wait()
		f.follow("/events", "Last-Event-ID: e4").ids(1)
		f.happens(core.EventTest)
		if got := streams[1].ids(1); got[0] != "e6" {
			t.Errorf("where there is room one has to leave, with %q", got)
		}
	})
}

// from is a connection from an address.
type from struct {
	net.Conn
	addr string
}

func (c from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.addr)) }

// followFrom is a stream of events for a caller at addr.
func (f *foreman) followFrom(addr string) *stream {
	f.t.Helper()
	client, server := net.Pipe()
	f.t.Cleanup(func() { client.Close() })
	f.pipes.conns <- from{server, addr}
	go func() { _, _ = io.WriteString(client, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
	lines := bufio.NewReader(client)
	resp, err := http.ReadResponse(lines, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	synctest.Wait()
	return &stream{f.t, resp, bufio.NewReader(resp.Body)}
}

// Who holds most makes room, and among equals the newcomer.
func TestWhoMakesRoomForAStreamOfEvents(t *testing.T) {
	for name, c := range map[string]struct {
		held     map[string]int // streams by address, in the order of these
		newcomer string
		goes     string
	}{
		"who has most":               {map[string]int{"10.0.0.1:1": 1, "10.0.0.2:1": 63}, "10.0.0.3:1", "10.0.0.2:1"},
		"whoever comes":              {map[string]int{"10.0.0.1:1": 1, "10.0.0.2:1": 63}, "10.0.0.2:2", "10.0.0.2:1"},
		"one who has more by now":    {map[string]int{"10.0.0.1:1": 32, "10.0.0.2:1": 32}, "10.0.0.2:1", "10.0.0.2:1"},
		"one who has as many by now": {map[string]int{"10.0.0.1:1": 22, "10.0.0.2:1": 21, "10.0.0.3:1": 21}, "10.0.0.2:1", "10.0.0.2:1"},
		"the oldest of equals":       {map[string]int{"10.0.0.1:1": 32, "10.0.0.2:1": 32}, "10.0.0.3:1", "10.0.0.1:1"},
		"a network of IPv6": {map[string]int{"10.0.0.1:1": 31, "[2001:db8::1]:1": 11, "[2001:db8::2]:1": 11, "[2001:db8::3]:1": 11},
			"10.0.0.3:1", "[2001:db8::1]:1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, nothing(), nil)
			streams := map[string][]*stream{}
			for _, addr := range slices.Sorted(maps.Keys(c.held)) {
				for range c.held[addr] {
					streams[addr] = append(streams[addr], f.followFrom(addr))
				}
			}
			f.followFrom(c.newcomer)
			synctest.Wait()
			f.happens(core.EventTest)
			for addr, of := range streams {
				for i, s := range of {
					if ended := s.frame() == ""; ended != (addr == c.goes && i == 0) {
						t.Errorf("%s: stream %d of %s has ended: %t", name, i, addr, ended)
					}
				}
			}
			f.stop()
		})
	}
}

// A token counts wherever it is used from.
func TestTheOwnerOfATokenWhoHoldsMostMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil, withTokens)
		alice := f.follow("/events", "X-Api-Key: alice-secret-0123456789")
		var bobs []*stream
		for range 64 {
			bobs = append(bobs, f.follow("/events", "X-Api-Key: bob secret"))
		}
		f.happens(core.EventTest)
		if got := alice.ids(1); got[0] != "e1" {
			t.Errorf("alice hears %q", got)
		}
		if got := bobs[0].frame(); got != "" {
			t.Errorf("bob hears %q", got)
		}
	})
}

// A reader whose connection takes no more is the first to go, at once.
func TestWhoDoesNotReadEventsMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		var streams []*stream
		for range 62 {
			streams = append(streams, f.follow("/events"))
		}
		var mute []net.Conn
		for range 2 {
			conn := f.dial()
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			mute = append(mute, conn)
			time.Sleep(4 * time.Second)
		}
		f.follow("/events")
		synctest.Wait()
		f.happens(core.EventTest)
		for i, s := range streams {
			if s.ids(1)[0] != "e1" {
				t.Errorf("%d, who reads, has to leave", i)
			}
		}
		if n, err := io.Copy(io.Discard, mute[0]); n > 0 || err != nil {
			t.Errorf("the one that doesn't read for longest gets %d bytes, %v", n, err)
		}
		if n, err := mute[1].Read(make([]byte, 1)); n == 0 {
			t.Errorf("the other one: %v", err)
		}
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
