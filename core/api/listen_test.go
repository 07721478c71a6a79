package api_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// heard is what comes of events: IDs and "gap", and the errors otherwise.
func heard(events iter.Seq2[core.Event, error]) (ids []string, errs error) {
	for e, err := range events {
		switch {
		case errors.Is(err, api.ErrGap):
			ids = append(ids, "gap")
		case err != nil:
			errs = errors.Join(errs, err)
		default:
			ids = append(ids, e.ID)
		}
	}
	return ids, errs
}

func TestClientHearsEvents(t *testing.T) {
	for after, want := range map[string][]string{"": {"e3"}, "e1": {"e2", "e3"}, "x": {"gap", "e1", "e2", "e3"}} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, nothing(), nil, withTokens)
			f.happens(core.EventDegraded, core.EventRecovered)
			time.AfterFunc(time.Hour, func() { f.happens(core.EventModelAdded) }) // heartbeats bridge that
			time.AfterFunc(2*time.Hour, f.stop)
			got, err := heard(asks(f, "bob secret").Events(t.Context(), after))
			if !slices.Equal(got, want) || !errors.Is(err, api.ErrNoDaemon) || !strings.Contains(err.Error(), "its events ended") {
				t.Errorf("after %q: %q, %v; want %q", after, got, err, want)
			}
		})
	}
}

func TestClientReadsAnEventWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.happens(core.EventDegraded, core.EventRecovered)
		for e, err := range asks(f, "").Events(t.Context(), "e1") {
			if err != nil || e.Type != core.EventRecovered || e.Target != upstream || e.Sentence != "it\nhappened" || string(e.Data) != `{"a":1}` {
				t.Errorf("%+v, %v", e, err)
			}
			break // and the stream is let go of, or the bubble would know
		}
	})
}

func TestClientStopsListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got, err := heard(asks(f, "").Events(ctx, "")); got != nil || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, api.ErrNoDaemon) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// Who reads events slowly doesn't take the daemon for dead.
func TestClientTakesItsTimeWithAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.happens(core.EventDegraded, core.EventRecovered)
		time.AfterFunc(55*time.Second, func() { f.happens(core.EventDegraded) })
		count := 0
		for _, err := range asks(f, "").Events(t.Context(), "e1") {
			if err != nil {
				t.Fatal(err)
			}
			if count++; count == 2 {
				break
			}
			time.Sleep(50 * time.Second)
		}
	})
}

func TestClientThatMayNotHearEvents(t *testing.T) {
	f := start(t, nothing(), nil, withTokens)
	if got, err := heard(asks(f, "wrong").Events(t.Context(), "")); got != nil || !errors.Is(err, api.ErrNotAllowed) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestClientWhoseEventsBreakOff(t *testing.T) {
	const begin = "HTTP/1.1 200 OK\r\nServer: foreman/1\r\n\r\n"
	const first = "id: e1\nevent: test\ndata: {\"id\":\"e1\"}\n\n"
	for name, c := range map[string]struct {
		text string
		ids  []string
		want error
	}{
		"at once":                {"", nil, api.ErrNoDaemon},
		"something else answers": {"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n" + first, nil, api.ErrNoDaemon},
		"after one":              {begin + first, []string{"e1"}, api.ErrNoDaemon},
		"in the middle of one":   {begin + first + first[:30], []string{"e1"}, api.ErrNoDaemon},
		"before an empty line":   {begin + first[:len(first)-1], nil, api.ErrNoDaemon},
		"a line without end":     {begin + "data: " + strings.Repeat("x", 2<<20), nil, api.ErrNoDaemon},
		"no JSON":                {begin + "event: test\ndata: nonsense\n\n", nil, nil},
		"an older daemon":        {"HTTP/1.1 404 Not Found\r\nServer: foreman/1\r\nConnection: close\r\n\r\n{\"error\":\"no route /events\"}", nil, nil},
	} {
		got, err := heard(hears(c.text).Events(t.Context(), ""))
		if !slices.Equal(got, c.ids) || err == nil || errors.Is(err, api.ErrNoDaemon) != (c.want != nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestClientOfADaemonThatFallsSilent(t *testing.T) {
	for text, bound := range map[string]time.Duration{
		"": 5 * time.Second,
		"HTTP/1.1 200 OK\r\nServer: foreman/1\r\n\r\n:\n\n": 45 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			client := api.NewClient("localhost:11435", "")
			client.Dial(func() (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					_, _ = far.Read(make([]byte, 1<<16))
					_, _ = io.WriteString(far, text)
					_, _ = far.Read(make([]byte, 1)) // until the client closes
					far.Close()
				}()
				return near, nil
			})
			began := time.Now()
			_, err := heard(client.Events(t.Context(), ""))
			if took := time.Since(began); took != bound || !errors.Is(err, api.ErrNoDaemon) || !strings.Contains(err.Error(), "no answer in time") {
				t.Errorf("%v after %v, want %v", err, took, bound)
			}
		})
	}
}
