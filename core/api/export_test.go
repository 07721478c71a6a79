package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// DialTarget has s reach its target by dial, so that a test can run both
// inside one bubble of synctest.
func (s *Server) DialTarget(dial func() (net.Conn, error)) {
	s.target.wires.dial = func(context.Context, string, string) (net.Conn, error) { return dial() }
	s.target.transport.DialContext = witnessed(s.target.wires.dial)
	s.target.management.DialContext = witnessed(s.target.wires.dial)
}

// DialNetwork has s reach its target by TCP, and give connections up on which
// nothing is acknowledged for that long.
func (s *Server) DialNetwork(ack time.Duration) { *s.target = *newTarget(s.deps.Upstream, ack, s.log) }

// NewWires returns what sends small requests by dial, and all others by other.
func NewWires(dial func() (net.Conn, error), other http.RoundTripper) interface {
	http.RoundTripper
	CloseIdleConnections()
} {
	return &wires{
		dial:  func(context.Context, string, string) (net.Conn, error) { return dial() },
		other: other, defects: &defects{log: slog.New(slog.DiscardHandler)},
	}
}

// Dial has c reach the daemon by dial.
func (c *Client) Dial(dial func() (net.Conn, error)) {
	c.http.Transport.(*http.Transport).DialContext =
		func(context.Context, string, string) (net.Conn, error) { return dial() }
}

// Close closes c's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ModelOf lets a fuzz test ask without a server.
var ModelOf = modelOf

// Unloads lets a test see what it costs.
var Unloads = unloads

// HoldsBodies reports whether s holds any request's body.
func (s *Server) HoldsBodies() bool {
	now := s.current.Load()
	all := budget(now.opts.MaxBody)
	if !now.bodies.TryAcquire(all) {
		return true
	}
	now.bodies.Release(all)
	return false
}

// TakeBudget leaves room for n bytes of bodies.
func (s *Server) TakeBudget(n int64) {
	now := s.current.Load()
	now.bodies.TryAcquire(budget(now.opts.MaxBody) - n)
}
