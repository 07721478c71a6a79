package api

import (
	"context"
	"net"
	"net/http"
)

// DialTarget has s reach its target by dial, so that a test can run both
// inside one bubble of synctest.
func (s *Server) DialTarget(dial func() (net.Conn, error)) {
	s.target.transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return dial() }
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

// HoldsBodies reports whether s holds any request's body.
func (s *Server) HoldsBodies() bool {
	all := max(leastBudget, 8*s.opts.MaxBody)
	if !s.bodies.TryAcquire(all) {
		return true
	}
	s.bodies.Release(all)
	return false
}

// TakeBudget leaves room for n bytes of bodies.
func (s *Server) TakeBudget(n int64) { s.bodies.TryAcquire(max(leastBudget, 8*s.opts.MaxBody) - n) }
