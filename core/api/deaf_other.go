//go:build !linux

package api

import (
	"syscall"
	"time"
)

// ackWithin does nothing here: macOS bounds only how long it takes to connect
// (TCP_CONNECTIONTIMEOUT). A connection whose packets get lost is noticed by
// keepalive if nothing was sent on it, and else when TCP gives up.
func ackWithin(time.Duration) func(network, address string, conn syscall.RawConn) error { return nil }
