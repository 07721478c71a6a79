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
)

func withConnections(most int) func(*setup) {
	return func(o *setup) { o.Connections = most }
}

// open is a connection that has sent text and, if that is a whole request,
// had its answer.
func (f *foreman) open(text string) net.Conn {
	f.t.Helper()
	conn := f.dial()
	f.t.Cleanup(func() { conn.Close() })
	go func() { _, _ = io.WriteString(conn, text) }()
	if strings.HasSuffix(text, "\r\n\r\n") {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			f.t.Fatal(err)
		}
		read(f.t, resp)
	}
	synctest.Wait()
	return conn
}

// isClosed reports whether the server has closed conn, which has nothing to
// read otherwise.
func isClosed(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	return err == io.EOF
}

const livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"

func TestConnectionsThatOnlyWaitMakeRoom(t *testing.T) {
	for name, text := range map[string]string{
		"silent":                   "",
		"half a request line":      "GET /li",
		"half a header":            "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ",
		"idle after a request":     livez,
		"half a header after that": livez + livez[:30],
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, found(), nil, withConnections(3))
			var conns []net.Conn
			for range 3 {
				if first, rest, ok := strings.Cut(text, "\r\n\r\n"); ok {
					conn := f.open(first + "\r\n\r\n")
					go func() { _, _ = io.WriteString(conn, rest) }()
					conns = append(conns, conn)
				} else {
					conns = append(conns, f.open(text))
				}
				time.Sleep(time.Second)
			}
			for range 2 {
				if got := f.raw(livez); got.status != 200 { // and leaves again
					t.Errorf("%s: %d", name, got.status)
				}
				synctest.Wait()
			}
			if !isClosed(conns[0]) || isClosed(conns[1]) || isClosed(conns[2]) {
				t.Errorf("%s: the one that waited longest wasn't the one to leave", name)
			}
		})
	}
}

func TestConnectionsAtWorkStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-release
			_, _ = io.WriteString(w, "{}")
		})
		f := start(t, found(named("tiny:latest")), target, withConnections(2))
		answers := make(chan answer)
		for range 2 {
			go func() {
				answers <- f.do("POST", "/api/chat", `{"model":"tiny"}`)
			}()
		}
		synctest.Wait()
		for range 3 {
			if conn := f.open(""); !isClosed(conn) {
				t.Error("one connection too many stays open")
			}
		}
		if log := f.log.String(); strings.Count(log, "max_connections=2") != 1 {
			t.Errorf("three callers within a minute were sent away; the log says\n%s", log)
		}
		close(release)
		for range 2 {
			if got := <-answers; got.status != 200 || got.body != "{}" {
				t.Errorf("a request at work: %d %s", got.status, got.body)
			}
		}
		synctest.Wait()
		if got := f.raw(livez); got.status != 200 {
			t.Errorf("once they are done: %d", got.status)
		}
	})
}

// A caller without a token can't hold a connection by a body that nobody
// reads.
func TestABodyThatNobodyReadsIsCutSoon(t *testing.T) {
	for request, want := range map[string]int{"POST /api/chat": 401, "POST /nope": 401, "GET /api/tags": 401, "GET /livez": 200} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, found(), nil, withTokens)
			conn := f.dial()
			done := dawdle(conn, request+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 100*time.Millisecond)
			began := time.Now()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, resp); got.status != want || !resp.Close || time.Since(began) > time.Second {
				t.Errorf("%s: %d, closed: %v, after %v", request, got.status, resp.Close, time.Since(began))
			}
			conn.Close()
			<-done
		})
	}
}
