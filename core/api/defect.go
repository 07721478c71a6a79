package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// A defect is an answer that has begun and isn't HTTP: another attempt gets
// the same. It is a [*core.Fault] too.
type defect struct{ fault *core.Fault }

func (d *defect) Error() string { return d.fault.Detail }

func (d *defect) Unwrap() []error {
	return []error{d.fault, &httpError{status: http.StatusBadGateway,
		message: "the target's answer can't be read as HTTP; foreman's log says why"}}
}

// Why an answer has a defect that net/http doesn't see.
var (
	errLongHeader = errors.New("its header is over 64 KiB")
	errNoStatus   = errors.New("its status is below 200, and nothing follows") // a switch of protocols that nobody asked for, too
)

// defectEvery is how often at most the log tells of a defect.
const defectEvery = time.Minute

// defects tells those answers apart from ones that broke off.
type defects struct {
	log *slog.Logger

	mu   sync.Mutex
	told time.Time
}

// judge is err, which ended the header of an answer that had begun, as a
// [*defect]. What the target sent isn't told: it may be a part of somebody's
// answer.
func (d *defects) judge(err error) error {
	why := err.Error()
	if i := strings.IndexAny(why, `";`); i >= 0 { // net/http quotes it
		why = strings.TrimRight(why[:i], ": ")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.told) >= defectEvery {
		d.told = now
		d.log.Warn("the target's answer can't be read as HTTP", "error", why)
	}
	return &defect{&core.Fault{Reason: core.ReasonWrongTarget, Detail: "the target's answer can't be read as HTTP: " + why}}
}

// A strict transport is an http.Transport whose error may be a [*defect].
type strict struct {
	*http.Transport
	defects *defects
}

// RoundTrip implements [http.RoundTripper].
func (s strict) RoundTrip(req *http.Request) (*http.Response, error) {
	var heard atomic.Bool
	var by atomic.Pointer[witness]
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) {
			conn, _ := transport(got.Conn).(*witness)
			by.Store(conn)
		},
		GotFirstResponseByte: func() { heard.Store(true) },
	})
	resp, err := s.Transport.RoundTrip(req.WithContext(ctx))
	switch {
	case err == nil && resp.StatusCode < http.StatusOK:
		_ = resp.Body.Close()
		return nil, s.defects.judge(errNoStatus)
	case err != nil && heard.Load() && ctx.Err() == nil && !by.Load().ended.Load():
		return nil, s.defects.judge(err)
	}
	return resp, err
}

type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// A witness is a connection that knows whether it ended: to net/http a header
// that was cut is malformed.
type witness struct {
	net.Conn
	ended atomic.Bool
}

func (w *witness) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.ended.Store(true)
	}
	return n, err
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.ended.Store(true)
	}
	return n, err
}

// witnessed is by with a [witness] for each connection.
func witnessed(by dial) dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := by(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &witness{Conn: conn}, nil
	}
}
