package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	dialTimeout = 3 * time.Second
	maxAnswer   = 64 << 20 // bytes of an answer that is read whole
	// ackTimeout is how long a target may leave what it is sent
	// unacknowledged: a connection whose packets get lost looks like a model
	// that loads, to a vigil that gets its signs of life on another one.
	// It is long, since a target that has no thread free yet doesn't read a
	// large request either.
	ackTimeout = 30 * time.Second
)

// target is the way to the upstream that the backend plugin named, past the
// plugin.
type target struct {
	upstream   func() (core.Upstream, error)
	transport  strict
	wires      *wires // take what is small
	management strict // its uploads last, and a slow disk stops reading them
}

// newTarget's ack is how long what was sent may stay unacknowledged.
func newTarget(upstream func() (core.Upstream, error), ack time.Duration, log *slog.Logger) *target {
	defects := &defects{log: log}
	dialer, patient := newDialer(ack), newDialer(0)
	transport := strict{newTransport(dialer), defects}
	return &target{
		upstream: upstream, transport: transport,
		wires:      &wires{dial: dialer.DialContext, other: transport, defects: defects},
		management: strict{newTransport(patient), defects},
	}
}

func newDialer(ack time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: dialTimeout, Control: ackWithin(ack), KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3, // a dead peer shows in 11 s
	}}
}

func newTransport(dialer *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:            witnessed(dialer.DialContext),
		TLSHandshakeTimeout:    dialTimeout,
		IdleConnTimeout:        15 * time.Second,
		MaxIdleConnsPerHost:    256, // there is one host
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: mostHeader,
		DisableCompression:     true, // bytes pass through as the target sent them
	}
}

func (t *target) close() {
	t.transport.CloseIdleConnections()
	t.wires.CloseIdleConnections()
	t.management.CloseIdleConnections()
}

// answer is what the target said, read whole.
type answer struct {
	status      int
	contentType string
	body        []byte
}

func (a *answer) send(w http.ResponseWriter) error { return send(w, a.status, a.contentType, a.body) }

// post sends body to path and reads the answer. A target that can't be
// reached, or doesn't answer in time, is a [*core.Fault].
func (t *target) post(ctx context.Context, wait time.Duration, path string, body io.Reader) (*answer, error) {
	upstream, err := t.upstream()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, upstream.URL+path, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, upstream.Header)
	req.Header.Set("Content-Type", openAIType)
	resp, err := t.transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return nil, unreachable(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, unreachable(err)
	case len(got) > maxAnswer:
		return nil, &core.Fault{Reason: core.ReasonTooLarge, Detail: path + " answered more than 64 MiB"}
	case resp.StatusCode/100 == 3:
		return nil, &core.Fault{Reason: core.ReasonRedirect, Detail: path + " answered a redirect"}
	}
	return &answer{resp.StatusCode, resp.Header.Get("Content-Type"), got}, nil
}

// unreachable blames the target, but a caller who left stays just that.
func unreachable(err error) error {
	reason := core.ReasonReset
	var known *core.Fault
	var dns *net.DNSError
	var op *net.OpError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &dns):
		reason = core.ReasonDNS
	case errors.As(err, &timeout) && timeout.Timeout():
		reason = core.ReasonTimeout
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN),
		errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.EADDRNOTAVAIL):
		reason = core.ReasonNoRoute
	case errors.As(err, &op) && op.Op == "dial":
		reason = core.ReasonRefused
	case strings.Contains(err.Error(), "tls: "): // what all errors of crypto/tls have in common
		reason = core.ReasonTLS
	}
	return &core.Fault{Reason: reason, Detail: err.Error()}
}
