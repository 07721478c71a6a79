package api

import (
	"context"
	"errors"
	"io"
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
)

// target is the way to the upstream that the backend plugin named, past the
// plugin.
type target struct {
	upstream  func() (core.Upstream, error)
	transport *http.Transport
	wires     *wires // take what is small
}

func newTarget(upstream func() (core.Upstream, error)) *target {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3, // a dead peer shows in 11 s
	}}
	transport := &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		IdleConnTimeout:       15 * time.Second,
		MaxIdleConnsPerHost:   256, // there is one host
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // bytes pass through as the target sent them
	}
	return &target{upstream, transport, &wires{dial: dialer.DialContext, other: transport}}
}

func (t *target) close() {
	t.transport.CloseIdleConnections()
	t.wires.CloseIdleConnections()
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
