package api

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// crowdedEvery is how often at most the log says that callers are sent away.
const crowdedEvery = time.Minute

// A crowd bounds how many connections there are. One that comes when all are
// taken gets the place of the one that has waited longest without a whole
// request header: those who only hold connections can't keep others out. If
// all the others are at work, it is closed.
type crowd struct {
	log *slog.Logger

	mu    sync.Mutex
	most  int                    // 0 is no bound
	since map[net.Conn]time.Time // when it began to wait, zero while at work
	told  time.Time
}

func newCrowd(log *slog.Logger) *crowd {
	return &crowd{log: log, since: make(map[net.Conn]time.Time)}
}

// limit sets the bound. Connections over it that only wait are closed now;
// those at work stay.
func (c *crowd) limit(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = most
	for most > 0 && len(c.since) > most && c.makeRoom() {
	}
}

func (c *crowd) full() bool { return c.most > 0 && len(c.since) >= c.most }

// watch is the server's [http.Server.ConnState]. A connection that was made
// to leave isn't known any more when it says so itself.
func (c *crowd) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.since[conn]
	switch {
	case state == http.StateNew:
		if c.full() && !c.makeRoom() {
			leave(conn)
			return
		}
		c.since[conn] = time.Now()
	case !known:
	case state == http.StateActive:
		c.since[conn] = time.Time{}
	case state == http.StateIdle:
		c.since[conn] = time.Now()
	default: // closed
		delete(c.since, conn)
	}
}

// makeRoom closes the connection that has waited longest, and reports whether
// there was one.
func (c *crowd) makeRoom() bool {
	var longest net.Conn
	for conn, since := range c.since {
		if !since.IsZero() && (longest == nil || since.Before(c.since[longest])) {
			longest = conn
		}
	}
	if longest == nil {
		if now := time.Now(); now.Sub(c.told) >= crowdedEvery {
			c.told = now
			c.log.Warn("all connections are at work: new ones are closed", "max_connections", c.most)
		}
		return false
	}
	delete(c.since, longest)
	leave(longest)
	return true
}

// leave closes conn without a farewell, which a peer who doesn't read would
// hold up.
func leave(conn net.Conn) { _ = transport(conn).Close() }

// transport is what conn runs over, without TLS.
func transport(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// connKey is where a request's context has its connection.
type connKey struct{}

// A connection is what a request came by, and a channel that is closed once
// foreman stops.
type connection struct {
	net.Conn
	stops <-chan struct{}
}

// breakOff ends r's answer so that its caller sees it broken. HTTP/1.1 shows
// that by what is missing at the end; of HTTP/1.0 a close is the end, so
// there the connection is reset.
func breakOff(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(connection); ok && !r.ProtoAtLeast(1, 1) {
		if tcp, ok := transport(conn.Conn).(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	panic(http.ErrAbortHandler)
}
