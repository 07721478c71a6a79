// Package target looks at a server over HTTP for the backends that speak to
// one: one GET, and a [core.Fault] that says what is wrong with the answer, or
// why there is none. What the answer means is the backend's business.
package target

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"

	"github.com/seed-af7fee88/foreman/core"
)

// A Target is one server and how it is addressed. Use [New].
type Target struct {
	URL string // without a trailing slash

	api    string // what the server is to speak, as in "Ollama's API"
	token  string // what must not appear in a fault
	header http.Header
}

// Header is what each request to the target carries.
func (t *Target) Header() http.Header { return t.header.Clone() }

// Get fetches path into buf, which it may replace by a larger one, and
// returns what came, at most limit bytes. Its error is a [*core.Fault].
func (t *Target) Get(ctx context.Context, path string, limit int, buf []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL+path, nil)
	if err != nil {
		return nil, t.Fault(path, Faultf(core.ReasonUnknown, "%v", err))
	}
	maps.Copy(req.Header, t.header)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "foreman")

	// A transport, not a client: it never follows a redirect, which would
	// carry the token elsewhere.
	resp, err := newTransport(ctx).RoundTrip(req)
	if err != nil {
		return nil, t.Fault(path, connectionFault(ctx, err))
	}
	defer func() { _ = resp.Body.Close() }()
	if fault := t.answerFault(resp); fault != nil {
		return nil, t.Fault(path, fault)
	}
	if resp.ContentLength > int64(limit) {
		return nil, t.Fault(path, tooLarge(limit))
	}
	if resp.ContentLength > 0 {
		buf = slices.Grow(buf[:0], int(resp.ContentLength)+1) // one more: to see the end
	}
	body, err := readAll(resp.Body, buf, limit)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, t.Fault(path, tooLarge(limit))
	case err != nil:
		return nil, t.Fault(path, bodyFault(ctx, err, len(body)))
	}
	return body, nil
}

// newTransport makes a transport for one request.
//
// Nothing is pooled: one connection a look costs a millisecond, and a
// connection that was open while the target slept swallows the request that
// finds out. The dials hold ctx because those of net/http outlive the
// request, so each probe of a black hole would leave one behind for two
// minutes. There is no proxy: a target is as near as its URL says.
func newTransport(ctx context.Context) *http.Transport {
	plain := new(net.Dialer)
	secure := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return plain.DialContext(ctx, network, addr)
		},
		DialTLSContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return secure.DialContext(ctx, network, addr)
		},
	}
}

var errTooLarge = errors.New("too large")

// readAll is io.ReadAll into the capacity of buf, growing by doubling, for at
// most limit bytes.
func readAll(r io.Reader, buf []byte, limit int) ([]byte, error) {
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(max(4<<10, len(buf)), limit+1-len(buf)))
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), limit+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return buf, errTooLarge
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}
