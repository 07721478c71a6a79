package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	dialTimeout = 3 * time.Second
	showTimeout = 10 * time.Second
	maxAnswer   = 64 << 20 // bytes of an answer that is read whole
)

// target is the way to the upstream that the backend plugin named, past the
// plugin.
type target struct {
	upstream  func() (core.Upstream, error)
	transport *http.Transport
}

func newTarget(upstream func() (core.Upstream, error)) *target {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3, // a dead peer shows in 11 s
	}}
	return &target{upstream: upstream, transport: &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		IdleConnTimeout:       15 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // bytes pass through as the target sent them
	}}
}

func (t *target) close() { t.transport.CloseIdleConnections() }

// answer is what the target said, read whole.
type answer struct {
	status      int
	contentType string
	body        []byte
}

// post sends body to path and reads the answer. A target that can't be
// reached, or doesn't answer within showTimeout, is a [*core.Fault].
func (t *target) post(ctx context.Context, path string, body io.Reader) (answer, error) {
	upstream, err := t.upstream()
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, showTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, upstream.URL+path, body)
	if err != nil {
		return answer{}, err
	}
	for name, values := range upstream.Header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", openAIType)
	resp, err := t.transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return answer{}, unreachable(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, unreachable(err)
	}
	if len(got) > maxAnswer {
		return answer{}, &core.Fault{Reason: core.ReasonTooLarge, Detail: path + " answered more than 64 MiB"}
	}
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), got}, nil
}

// unreachable blames the target, but a caller who left stays just that.
func unreachable(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return &core.Fault{Reason: core.ReasonTimeout, Detail: err.Error()}
	default:
		return &core.Fault{Reason: core.ReasonRefused, Detail: err.Error()}
	}
}

// blobPath is the only thing that may stand after /api/blobs/.
var blobPath = regexp.MustCompile(`^/api/blobs/sha256[:-][0-9a-f]{64}$`)

// manage passes a route that changes what is installed to the target, if the
// owner allows that.
func (s *Server) manage(w http.ResponseWriter, r *http.Request) error {
	if !s.opts.Management {
		return errorf(http.StatusForbidden,
			"foreman doesn't manage models here: run this on the target itself, or set server.management = true in foreman's config")
	}
	if len(r.URL.Path) > len(blobPrefix) && r.URL.Path[:len(blobPrefix)] == blobPrefix && !blobPath.MatchString(r.URL.Path) {
		return errorf(http.StatusNotFound, "%s names no blob: it takes sha256: and 64 hexadecimal digits", r.URL.Path)
	}
	upstream, err := s.opts.Upstream()
	if err != nil {
		return err
	}
	base, err := url.Parse(upstream.URL)
	if err != nil {
		return err
	}
	defer s.inventory.Nudge()
	proxy := httputil.ReverseProxy{
		Transport:     s.target.transport,
		FlushInterval: -1, // progress lines leave as they come
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(base) // the host header too: Ollama refuses a foreign one
			p.Out.Header = http.Header{"Content-Type": p.In.Header["Content-Type"]}
			for name, values := range upstream.Header {
				p.Out.Header[name] = values
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { s.fail(w, r, unreachable(err)) },
	}
	proxy.ServeHTTP(w, r)
	return nil
}

// inference is not passed on by this version.
func (s *Server) inference(_ http.ResponseWriter, _ *http.Request) error {
	return errorf(http.StatusNotImplemented,
		"this foreman doesn't pass inference on: send it to the target itself, %s", s.inventory.Snapshot().URL)
}
