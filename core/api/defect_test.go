package api_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// says is a target that answers text, whatever it is asked, and hangs up if
// that is all.
func says(f *foreman, text string, hangsUp bool) (requests func() int) {
	asked := make(chan struct{}, 100)
	f.server.DialTarget(func() (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			req, err := http.ReadRequest(bufio.NewReader(server))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			asked <- struct{}{}
			if _, err := io.WriteString(server, text); err == nil && !hangsUp {
				_, _ = io.Copy(io.Discard, server)
			}
		}()
		return client, nil
	})
	return func() int { return len(asked) }
}

var (
	asksMuch = `{"model":"tiny","prompt":"` + strings.Repeat("x", 20<<10) + `"}`
	unread   = "the target's answer can't be read as HTTP"
)

func TestAnAnswerThatIsNoHTTPIsNotAskedForAgain(t *testing.T) {
	for text, why := range map[string]string{
		"SSH-2.0-SECRET\r\n":                "malformed HTTP response",
		"HTTP/1.1 200 OK\r\nSECRET\r\n\r\n": "malformed MIME header",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nSECRET":            "Content-Length",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("SECRET", 20_000) + "\r\n\r\n":             "",
		strings.Repeat("HTTP/1.1 102 Processing\r\nX: SECRET\r\n\r\n", 5000):                 "",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SECRET\r\nConnection: upgrade\r\n\r\n": "below 200",
		"HTTP/1.1 099 SECRET\r\nContent-Length: 2\r\n\r\n{}":                                 "below 200",
	} {
		for _, request := range []string{"/api/chat " + asksTiny, "/api/chat " + asksMuch, "/api/show " + asksTiny, "/api/pull {}"} {
			path, body, _ := strings.Cut(request, " ")
			if path == "/api/pull" && strings.Contains(text, "102") {
				continue // they are passed on, and nothing follows
			}
			synctest.Test(t, func(t *testing.T) {
				f := start(t, tiny(), nil, retryFor(time.Minute), everything)
				requests := says(f, text, false)
				for range 2 {
					f.do("POST", path, body).says(t, 502, `{"error":"`+unread+`; foreman's log says why"}`)
				}
				log := f.log.String()
				if strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, unread) || !strings.Contains(log, why) || strings.Contains(log, "SECRET") {
					t.Errorf("%.30q to %.30s: logged %s", text, request, log)
				}
				if n := requests(); n != 2 {
					t.Errorf("%.30q to %.30s: asked %d times", text, request, n)
				}
			})
		}
	}
}

func TestAJobWhoseAnswerIsNoHTTPKnowsWhy(t *testing.T) {
	f := start(t, tiny(), nil)
	says(f, "SSH-2.0-SECRET\r\n", false)
	err := f.server.Do(t.Context(), core.Work{Path: "/api/chat", Body: []byte(asksTiny)}, new(tray))
	want := core.Fault{Reason: core.ReasonWrongTarget, Detail: unread + ": malformed HTTP response"}
	if got := *core.FaultOf(err); got != want {
		t.Errorf("%+v", got)
	}
}

// A header that ends early is of a target that was killed.
func TestAnAnswerThatBreaksOffInItsHeaderIsAskedForAgain(t *testing.T) {
	for _, text := range []string{"HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nX: y\r\n", "HTTP/1.1 20", "HT"} {
		for _, body := range []string{asksTiny, asksMuch} {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, tiny(), nil, retryFor(time.Second))
				requests := says(f, text, true)
				f.do("POST", "/api/chat", body).says(t, 503, `{"error":"foreman can't reach its target: reset"}`)
				if n := requests(); n < 2 || strings.Contains(f.log.String(), "WARN") {
					t.Errorf("%q: asked %d times, logged %s", text, n, f.log)
				}
			})
		}
	}
}
