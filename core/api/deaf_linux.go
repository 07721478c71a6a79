package api

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h.
const tcpUserTimeout = 18

// ackWithin is a [net.Dialer.Control] for connections that end once what was
// sent isn't acknowledged, or not read and so not even sent, for that long.
// TCP itself takes a quarter of an hour for that, and its keepalive only
// watches over connections on which nothing is under way. 0 leaves it at that.
func ackWithin(wait time.Duration) func(network, address string, conn syscall.RawConn) error {
	if wait == 0 {
		return nil
	}
	return func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) { // without the option it is a connection still
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(wait.Milliseconds()))
		})
	}
}
