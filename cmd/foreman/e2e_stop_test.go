//go:build unix

package main

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

// mustEndWell waits until a daemon that was asked to end has done so.
func mustEndWell(t *testing.T, f *testkit.Foreman) {
	t.Helper()
	began := time.Now()
	if ended := f.AwaitEnd(5*time.Second, time.Second); !ended.Exited() || ended.ExitStatus() != exitYes {
		t.Errorf("the daemon ended with %#x, want exit code 0", ended)
	}
	t.Logf("ended after %v", time.Since(began))
	mustLeaveNoSocket(t, f)
}

func mustLeaveNoSocket(t *testing.T, f *testkit.Foreman) {
	t.Helper()
	left, err := os.ReadDir(f.SocketDir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the directory of sockets: %v, %v", left, err)
	}
}

func TestE2EOneSignalEndsItWell(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Run("while all is well", func(t *testing.T) {
				f := serveFor(t, testkit.Settings{Target: o.URL, Poll: fastPoll})
				f.Signal(sig)
				mustEndWell(t, f)
			})
			t.Run("while a poll hangs", func(t *testing.T) {
				f := serveFor(t, testkit.Settings{Target: o.URL, Poll: `timeout = "60s"`})
				o.Pause()
				defer o.Resume()
				getFresh(t, f, "/api/tags") // begins a poll, and doesn't wait for its end
				f.Signal(sig)
				mustEndWell(t, f)
			})
			t.Run("while the plugin hangs", func(t *testing.T) {
				f := serveFor(t, testkit.Settings{Target: o.URL, Poll: fastPoll})
				signalPlugin(t, f, syscall.SIGSTOP)
				f.Signal(sig)
				mustEndWell(t, f)
			})
			t.Run("while a poll hangs in the plugin", func(t *testing.T) {
				f := serveFor(t, testkit.Settings{Target: o.URL, Poll: `timeout = "60s"`})
				signalPlugin(t, f, syscall.SIGSTOP)
				getFresh(t, f, "/api/tags")
				f.Signal(sig)
				mustEndWell(t, f)
			})
		})
	}
}

func TestE2ESecondSignalEndsItAtOnce(t *testing.T) {
	_, f := bringUp(t)
	keepBusy(t, f)
	f.Signal(syscall.SIGTERM)
	testkit.Await(t, soon, "the daemon stops", func() error {
		if !strings.Contains(f.Log(), "foreman stops") {
			return errors.New("it doesn't say so")
		}
		return nil
	})
	// A person would press Ctrl-C again and again, too.
	took := testkit.Await(t, soon, "the daemon is gone", func() error {
		f.Signal(syscall.SIGINT)
		select {
		case <-f.Ended():
			return nil
		default:
			return errors.New("it is still there")
		}
	})
	if ended := f.AwaitEnd(time.Second, time.Second); !ended.Signaled() || took > time.Second {
		t.Errorf("ended with %#x %v after the second signal", ended, took)
	}
	mustLeaveNoSocket(t, f)
}

// keepBusy begins a request and doesn't send its body, for which a daemon
// that stops waits a little. It returns once the daemon reads the body.
func keepBusy(t *testing.T, f *testkit.Foreman) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	request := "POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("the daemon doesn't wait for a body: %q, %v", line, err)
	}
}
