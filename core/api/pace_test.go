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

// A caller who dawdles is cut off; until then it costs a connection.

// dawdle writes begin and then one byte at a time, until conn is closed.
func dawdle(conn net.Conn, begin string, every time.Duration) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.WriteString(conn, begin)
		for err == nil {
			time.Sleep(every)
			_, err = io.WriteString(conn, "x")
		}
	}()
	return done
}

func TestASlowHeaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), nil)
		for _, begin := range []string{"", "G", "GET / HTTP/1.1\r\nHost: localhost\r\n"} {
			conn := f.dial()
			done := dawdle(conn, begin, time.Second)
			began := time.Now()
			_, _ = io.ReadAll(conn)
			if took := time.Since(began); took != 10*time.Second {
				t.Errorf("%q holds a connection for %v", begin, took)
			}
			<-done
		}
	})
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), nil)
		conn := f.dial()
		defer conn.Close()
		go func() { _, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		read(t, resp)
		began := time.Now()
		_, err = reader.ReadByte()
		if took := time.Since(began); err != io.EOF || took != 2*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestASlowBodyIsCut(t *testing.T) {
	for request, want := range map[string]struct {
		status int
		after  time.Duration
	}{
		"POST /api/show": {400, 20 * time.Second}, "POST /api/chat": {400, 20 * time.Second}, "POST /api/pull": {403, 20 * time.Second},
		"POST /nope": {404, time.Second}, "PUT /api/chat": {405, time.Second}, // nobody will read it
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, found(), nil)
			conn := f.dial()
			done := dawdle(conn, request+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 5*time.Second)
			began := time.Now()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, resp); got.status != want.status || !resp.Close {
				t.Errorf("%s: %d, closed: %v", request, got.status, resp.Close)
			}
			if took := time.Since(began); took != want.after {
				t.Errorf("%s holds a connection for %v", request, took)
			}
			conn.Close()
			<-done
		})
	}
}

// big is a list that takes some pieces to write.
func big() *core.Snapshot {
	return found(core.Model{Name: "big:latest", Raw: []byte(`{"x":"` + strings.Repeat("x", 12<<20) + `"}`)})
}

func TestACallerWhoDoesNotReadIsCut(t *testing.T) {
	for _, request := range []string{
		"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, big(), nil)
			conn := f.dial()
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			time.Sleep(61 * time.Second)
			if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%q: after a minute %d bytes, %v", request, n, err)
			}
		})
	}
}

// One who reads slowly, but does, gets the whole list.
func TestACallerWhoReadsSlowlyIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, big(), nil)
		want := f.get("/api/tags").body
		resp, err := f.client.Get("http://localhost/api/tags")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		began, got := time.Now(), strings.Builder{}
		for err == nil {
			time.Sleep(5 * time.Second)
			_, err = io.CopyN(&got, resp.Body, 1<<19) // more than a piece in a minute
		}
		if err != io.EOF || got.String() != want || time.Since(began) < time.Minute {
			t.Errorf("%d of %d bytes after %v: %v", got.Len(), len(want), time.Since(began), err)
		}
	})
}
