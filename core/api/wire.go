package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
)

const (
	mostWireBody  = 16 << 10 // of a request: what sockets hold leaves in one write, whether the target reads or not
	mostHeader    = 64 << 10 // of an answer, with the interim ones before it
	wireIdle      = 15 * time.Second
	mostIdleWires = 256
)

// wires carries small requests over plain HTTP/1.1, in the goroutine of
// whoever sends them and reads the answer. What bytes mean is left to
// net/http. Its Transport has two more goroutines for each connection: each
// chunk has to wait for one of them, and their stacks and buffers double the
// memory of a connection. It stays for requests that may be answered before
// they have been sent, for TLS, and for names that are only written in ASCII
// on the way.
type wires struct {
	dial    dial
	other   http.RoundTripper
	defects *defects

	mu     sync.Mutex
	idle   []*wire     // the one used last is the last
	reaper *time.Timer // nil while none is idle
}

// RoundTrip implements [http.RoundTripper]. Its error, and that of reading
// the answer, is the cause if the request's context has ended. What an idle
// connection dies of before it has answered a byte is no error: the request
// is sent once more, on a new one.
func (ws *wires) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" || req.ContentLength <= 0 || req.ContentLength > mostWireBody || !isASCII(req.URL.Host) {
		return ws.other.RoundTrip(req)
	}
	sent := wireRequests.Get().(*bytes.Buffer)
	defer wireRequests.Put(sent)
	sent.Reset()
	if err := req.Write(sent); err != nil {
		return nil, err
	}
	addr := req.URL.Host
	if req.URL.Port() == "" {
		addr = net.JoinHostPort(req.URL.Hostname(), "80")
	}
	if w := ws.take(addr); w != nil {
		resp, err := ws.exchange(w, req, sent.Bytes())
		if err == nil || w.heard {
			return resp, err
		}
	}
	conn, err := ws.dial(req.Context(), "tcp", addr)
	if err != nil {
		return nil, causeOf(req.Context(), err)
	}
	return ws.exchange(&wire{Conn: conn, addr: addr}, req, sent.Bytes())
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// exchange sends what req was written to, and returns when the answer's
// header has come.
func (ws *wires) exchange(w *wire, req *http.Request, sent []byte) (*http.Response, error) {
	w.in, w.left, w.heard = wireReaders.Get().(*bufio.Reader), mostHeader, false
	w.in.Reset(w)
	a := &wireAnswer{wires: ws, wire: w, ctx: req.Context()}
	a.detach = context.AfterFunc(a.ctx, func() { _ = w.Close() })
	var resp *http.Response
	_, err := w.Write(sent)
	if err == nil {
		resp, err = w.receive(req)
	}
	if err != nil {
		a.end(false)
		if w.heard && !w.ended && a.ctx.Err() == nil {
			return nil, ws.defects.judge(err)
		}
		return nil, causeOf(a.ctx, err)
	}
	w.left = math.MaxInt
	a.body, a.reusable, resp.Body = resp.Body, !resp.Close, a
	return resp, nil
}

func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// take returns an idle wire to addr, or nil.
func (ws *wires) take(addr string) *wire {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for n := len(ws.idle) - 1; n >= 0; n-- {
		w := ws.idle[n]
		ws.idle[n], ws.idle = nil, ws.idle[:n]
		if w.addr == addr && w.quiet() {
			return w
		}
		_ = w.Close()
	}
	return nil
}

func (ws *wires) give(w *wire) {
	w.since = time.Now()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.idle) == mostIdleWires {
		_ = w.Close()
		return
	}
	ws.idle = append(ws.idle, w)
	if ws.reaper == nil {
		ws.reaper = time.AfterFunc(wireIdle, ws.reap)
	}
}

// reap closes what has been idle for long.
func (ws *wires) reap() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	old := 0
	for ; old < len(ws.idle) && time.Since(ws.idle[old].since) >= wireIdle; old++ {
		_ = ws.idle[old].Close()
	}
	ws.idle = slices.Delete(ws.idle, 0, old)
	ws.reaper = nil
	if len(ws.idle) > 0 {
		ws.reaper = time.AfterFunc(wireIdle-time.Since(ws.idle[0].since), ws.reap)
	}
}

// CloseIdleConnections closes what waits for its next request.
func (ws *wires) CloseIdleConnections() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.idle {
		_ = w.Close()
	}
	ws.idle = nil
}

// A wire is one connection, which serves one exchange at a time.
type wire struct {
	net.Conn
	addr  string
	since time.Time // when it fell idle

	// Of the exchange.
	in    *bufio.Reader
	left  int  // bytes that may still be read
	heard bool // any byte was
	ended bool // nothing more comes
}

// What an idle wire does without.
var (
	wireReaders  = sync.Pool{New: func() any { return bufio.NewReader(nil) }}
	wireRequests = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// Read implements [io.Reader] for the exchange.
func (w *wire) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, errLongHeader
	}
	n, err := w.Conn.Read(p[:min(len(p), w.left)])
	w.left -= n
	w.heard, w.ended = w.heard || n > 0, err != nil
	return n, err
}

// receive reads the header of the answer, past interim ones.
func (w *wire) receive(req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(w.in, req)
		switch {
		case err != nil || resp.StatusCode >= http.StatusOK:
			return resp, err
		case resp.StatusCode/100 != 1, resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errNoStatus
		}
	}
}

// quiet reports whether the target has sent nothing, nor ended the connection,
// since the last exchange: what an idle wire brings would be taken for the
// answer to the next request.
func (w *wire) quiet() bool {
	conn, ok := w.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var waits error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, waits = syscall.Read(int(fd), b[:])
		return true
	})
	return err == nil && errors.Is(waits, syscall.EAGAIN)
}

// A wireAnswer is the body of an answer. Once it is read to its end, the wire
// serves others; closed before, it is closed.
type wireAnswer struct {
	wires    *wires
	wire     *wire           // nil once let go
	ctx      context.Context // of the request; its end closes the wire
	detach   func() bool     // from ctx
	body     io.Reader
	reusable bool
}

// Read implements [io.Reader].
func (a *wireAnswer) Read(p []byte) (int, error) {
	if a.wire == nil {
		return 0, io.EOF
	}
	n, err := a.body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		a.end(a.reusable)
	case err != nil:
		a.end(false)
		err = causeOf(a.ctx, err)
	}
	return n, err
}

// Close implements [io.Closer].
func (a *wireAnswer) Close() error {
	if a.wire != nil {
		a.end(false)
	}
	return nil
}

func (a *wireAnswer) end(reusable bool) {
	w := a.wire
	a.wire = nil
	reusable = a.detach() && reusable && w.in.Buffered() == 0
	w.in.Reset(nil)
	wireReaders.Put(w.in)
	w.in = nil
	if reusable {
		a.wires.give(w)
	} else {
		_ = w.Close()
	}
}
