package ollama

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// A host that is asleep answers no SYN, and neither does a listener whose
// backlog is full. goleak sees to it that the dial ends with the look.
func TestTargetThatDoesNotEvenConnect(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
	for full := false; !full; {
		conn, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if full = err != nil; !full {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}

	for _, scheme := range []string{"http://", "https://"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = configured(t, core.Settings{URL: scheme + addr}).Probe(ctx)
		wantFault(t, err, core.ReasonTimeout)
		cancel()
	}
}
