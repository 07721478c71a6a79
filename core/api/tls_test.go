package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

// secure has f serve TLS too, and returns what dials it: raw, and as a caller
// who has shaken hands.
func (f *foreman) secure() (raw, trusting func() net.Conn) {
	f.t.Helper()
	authority := testkit.NewAuthority(f.t)
	pair, err := tls.X509KeyPair(authority.Issue(f.t, "localhost"))
	if err != nil {
		f.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	pipes := newPipes()
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = f.server.Run(ctx, tls.NewListener(pipes, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}))
	}()
	f.t.Cleanup(func() {
		cancel()
		<-stopped
	})
	raw = func() net.Conn {
		conn, err := pipes.dial()
		if err != nil {
			f.t.Fatal(err)
		}
		return conn
	}
	return raw, func() net.Conn {
		conn := tls.Client(raw(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err := conn.Handshake(); err != nil {
			f.t.Fatal(err)
		}
		return conn
	}
}

// endOf waits until the server closes conn.
func endOf(conn net.Conn) {
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
}

func TestDeadlinesHoldUnderTLS(t *testing.T) {
	type dial = func() net.Conn
	for name, c := range map[string]struct {
		begin string
		shake bool
		want  time.Duration
	}{
		"no handshake":      {"", false, 10 * time.Second},
		"half a handshake":  {"\x16\x03\x01\x02\x00\x01", false, 10 * time.Second},
		"silent":            {"", true, 10 * time.Second},
		"half a header":     {"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", true, 10 * time.Second},
		"half a body":       {"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", true, 20 * time.Second},
		"an idle one":       {livez, true, 2 * time.Minute},
		"one without token": {"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nX-Api-Key: wrong\r\n\r\n", true, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			set := func(*setup) {}
			if strings.Contains(name, "token") {
				set = withTokens
			}
			raw, trusting := start(t, found(), nil, set).secure()
			conn := map[bool]dial{false: raw, true: trusting}[c.shake]()
			began := time.Now()
			if _, err := io.WriteString(conn, c.begin); err != nil {
				t.Fatal(err)
			}
			endOf(conn)
			if took := time.Since(began).Round(time.Second); took != c.want {
				t.Errorf("%s holds a connection for %v, want %v", name, took, c.want)
			}
		})
	}
}

func TestACallerWhoDoesNotReadIsCutUnderTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, trusting := start(t, big(), nil).secure()
		conn := trusting()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Second) // a minute, and what a farewell may take
		if n, err := io.Copy(io.Discard, conn); n > 1<<20 {
			t.Errorf("after a minute %d bytes come, %v", n, err)
		}
	})
}

func TestStreamsFlowUnderTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chunks = 5
		target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range chunks {
				_, _ = io.WriteString(w, "{}\n")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Minute)
			}
		})
		_, trusting := start(t, found(named("tiny:latest")), target).secure()
		conn := trusting()
		defer conn.Close()
		const body = `{"model":"tiny"}`
		if _, err := io.WriteString(conn, "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n\r\n"+body); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := range chunks {
			if !lines.Scan() || time.Since(began) != time.Duration(i)*time.Minute {
				t.Fatalf("chunk %d after %v, %v", i, time.Since(began), lines.Err())
			}
		}
	})
}

func TestConnectionsThatOnlyWaitMakeRoomUnderTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, trusting := start(t, found(), nil, withConnections(2)).secure()
		for range 5 {
			defer raw().Close() // never shakes hands
			synctest.Wait()
		}
		began := time.Now()
		conn := trusting()
		defer conn.Close()
		if _, err := io.WriteString(conn, livez); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 || time.Since(began) != 0 {
			t.Errorf("after %v: %v, %v", time.Since(began), resp, err)
		}
	})
}
