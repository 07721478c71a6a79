package target

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
)

// Networks that have no route can't be had everywhere, so only the kernel's
// word for it is tested.
func TestFaultOfNoRoute(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EADDRNOTAVAIL} {
		err := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}
		got := connectionFault(t.Context(), err)
		if got.Reason != core.ReasonNoRoute || got.Detail != errno.Error() {
			t.Errorf("%v: %+v", err, got)
		}
	}
}
