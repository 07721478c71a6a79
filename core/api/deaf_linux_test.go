package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// deafen has the kernel drop whatever comes to conn, so that its peer hears
// nothing any more, not even that.
func deafen(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		drop := []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K}}
		//lint:ignore SA1019 what replaces it is a module of its own
		failed = syscall.AttachLsf(int(fd), drop)
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

const ackSoon = 300 * time.Millisecond

// cameBy is where a request's context has its connection.
type cameBy struct{}

// overTCP is a foreman in front of a target that it reaches by TCP.
func overTCP(t *testing.T, target http.HandlerFunc, set ...func(*setup)) *foreman {
	t.Helper()
	server := httptest.NewUnstartedServer(target)
	server.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, cameBy{}, conn)
	}
	server.Start()
	t.Cleanup(server.Close)
	f := start(t, tiny(), nil, append(set, func(o *setup) {
		o.Upstream = func() (core.Upstream, error) { return core.Upstream{URL: server.URL}, nil }
	})...)
	f.server.DialNetwork(ackSoon)
	return f
}

// A machine that changes its network keeps connections that lead nowhere, to a
// target that is well.
func TestARequestOnADeafConnectionIsSentOnAnother(t *testing.T) {
	for size, kind := range map[int]string{10: "small", 20 << 10: "large"} {
		t.Run(kind, func(t *testing.T) {
			var conns []net.Conn
			f := overTCP(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				conns = append(conns, r.Context().Value(cameBy{}).(net.Conn))
				fmt.Fprint(w, "{}")
			})
			body := `{"model":"tiny","prompt":"` + strings.Repeat("x", size) + `"}`
			f.do("POST", "/api/chat", body).says(t, 200, "{}")
			deafen(t, conns[0])
			began := time.Now()
			f.do("POST", "/api/chat", body).says(t, 200, "{}")
			if took := time.Since(began); took < ackSoon || took > 10*ackSoon || conns[0] == conns[1] {
				t.Errorf("after %v, on the same connection: %v", took, conns[0] == conns[1])
			}
		})
	}
}

// A target that takes its time to store a part of a model isn't deaf.
func TestAnUploadWaitsForTheTarget(t *testing.T) {
	f := overTCP(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * ackSoon)
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}, everything, func(o *setup) { o.MaxBody = 64 << 20 })
	got := f.do("POST", "/api/blobs/sha256:"+digest, strings.Repeat("x", 16<<20))
	if got.status != 200 || got.body != fmt.Sprint(16<<20, nil) {
		t.Errorf("%d %s", got.status, got.body)
	}
}
