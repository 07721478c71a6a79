//go:build unix

package testkit

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Link is the way to a server, which a test can make a bad one: each of
// [Link.Drip], [Link.Hold] and [Link.Cut] takes the place of the one before.
// Any goroutine may use it.
type Link struct {
	URL string // takes the server's place

	to        string // host:port
	listener  net.Listener
	condition atomic.Pointer[condition]
	cuts      atomic.Int64
	open      atomic.Int64
	ctx       context.Context // ends with the test
	conns     sync.WaitGroup
}

// A condition is how the link does until the next one is set.
type condition struct {
	piece int           // at most so many bytes at a time
	pause time.Duration // before each piece
	held  bool          // nothing passes
	cut   int64         // bytes of the server's until the connection is reset
	over  chan struct{} // closed by the next condition
}

func good() *condition {
	return &condition{piece: linkBuffer, cut: math.MaxInt64, over: make(chan struct{})}
}

const linkBuffer = 32 << 10

// NewLink makes a good link to the server at url. It goes with the test.
func NewLink(t testing.TB, url string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{URL: "http://" + listener.Addr().String(), to: strings.TrimPrefix(url, "http://"), listener: listener, ctx: ctx}
	l.condition.Store(good())
	l.conns.Go(l.accept)
	t.Cleanup(func() {
		cancel()
		listener.Close()
		l.conns.Wait()
	})
	return l
}

// Heal makes the link good. Bytes that it held arrive.
func (l *Link) Heal() { l.set(good()) }

// Drip lets bytes pass in pieces, each after a pause.
func (l *Link) Drip(piece int, pause time.Duration) {
	c := good()
	c.piece, c.pause = piece, pause
	l.set(c)
}

// Hold is a black hole: connections stay and new ones come about, and nothing
// passes.
func (l *Link) Hold() {
	c := good()
	c.held = true
	l.set(c)
}

// Cut resets each connection once the server has sent so many bytes on it
// from now on.
func (l *Link) Cut(after int64) {
	c := good()
	c.cut = after
	l.set(c)
}

// Cuts is how many connections were reset.
func (l *Link) Cuts() int64 { return l.cuts.Load() }

// Open is how many connections there are.
func (l *Link) Open() int64 { return l.open.Load() }

func (l *Link) set(c *condition) { close(l.condition.Swap(c).over) }

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.conns.Go(func() { l.join(client.(*net.TCPConn)) })
	}
}

// join serves one connection until both its directions have ended.
func (l *Link) join(client *net.TCPConn) {
	l.open.Add(1)
	defer l.open.Add(-1)
	defer client.Close()
	conn, err := net.Dial("tcp", l.to)
	if err != nil {
		_ = client.SetLinger(0) // the nearest thing to a refusal
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(l.ctx, func() { reset(client, server) })()
	var up sync.WaitGroup
	up.Go(func() { l.pump(client, server, false) })
	l.pump(server, client, true)
	up.Wait()
}

// pump passes one direction on, its end included. What breaks one side breaks
// the other.
func (l *Link) pump(from, to *net.TCPConn, ofServer bool) {
	w := &linkWriter{link: l, to: to, ofServer: ofServer}
	_, err := io.CopyBuffer(w, struct{ io.Reader }{from}, make([]byte, linkBuffer))
	if err == nil {
		_, err = w.await() // a black hole takes the end, too
	}
	if err != nil {
		if errors.Is(err, errCut) {
			l.cuts.Add(1)
		}
		reset(from, to)
		return
	}
	_ = to.CloseWrite() // fails if the other direction broke
}

func reset(conns ...*net.TCPConn) {
	for _, c := range conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

var errCut = errors.New("the link was cut")

// A linkWriter passes one direction of a connection on, as the link's
// condition lets it.
type linkWriter struct {
	link     *Link
	to       *net.TCPConn
	ofServer bool
	last     *condition
	passed   int64 // bytes under the last condition
}

func (w *linkWriter) Write(p []byte) (written int, err error) {
	for written < len(p) {
		c, err := w.await()
		if err != nil {
			return written, err
		}
		if c != w.last {
			w.last, w.passed = c, 0
		}
		n := min(len(p)-written, c.piece)
		if w.ofServer {
			n = int(min(int64(n), c.cut-w.passed))
		}
		n, err = w.to.Write(p[written : written+n])
		written += n
		w.passed += int64(n)
		if err == nil && w.ofServer && w.passed == c.cut {
			err = errCut
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// await returns the condition under which the next piece passes now.
func (w *linkWriter) await() (*condition, error) {
	for {
		c := w.link.condition.Load()
		if !c.held && c.pause == 0 {
			return c, w.link.ctx.Err()
		}
		var due <-chan time.Time // never, if held
		if !c.held {
			due = time.After(c.pause)
		}
		select {
		case <-due:
			return c, nil
		case <-c.over:
		case <-w.link.ctx.Done():
			return c, w.link.ctx.Err()
		}
	}
}
