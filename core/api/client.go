package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
)

var (
	// ErrNoDaemon is returned where no foreman answers.
	ErrNoDaemon = errors.New("no foreman daemon answers")
	// ErrNotAllowed is returned where one answers but doesn't let us in.
	ErrNotAllowed = errors.New("not allowed")
	// ErrNoInventory is returned while the daemon has nothing to tell.
	ErrNoInventory = errors.New("the daemon has no inventory yet")
)

const (
	clientDial    = time.Second
	clientTimeout = 5 * time.Second // of one request; a recheck takes 2 s
)

// Client asks a running daemon. Its errors are [ErrNoDaemon],
// [ErrNotAllowed], [ErrNoInventory], a [*Refusal], or a context's.
type Client struct {
	base  string
	token string
	http  http.Client
}

// NewClient returns a client of the daemon that listens on the address, by
// the config's words.
func NewClient(listen, token string) *Client {
	return newClient("http", listen, token, nil)
}

// NewTLSClient is [NewClient] for a daemon that serves https.
func NewTLSClient(listen, token string, config *tls.Config) *Client {
	return newClient("https", listen, token, config)
}

func newClient(scheme, listen, token string, config *tls.Config) *Client {
	host, port, err := net.SplitHostPort(listen)
	if err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		listen = net.JoinHostPort("localhost", port)
	}
	return &Client{base: scheme + "://" + listen, token: token, http: http.Client{
		Timeout: clientTimeout,
		Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: clientDial}).DialContext,
			TLSClientConfig: config,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// URL is where the daemon is looked for.
func (c *Client) URL() string { return c.base }

// A List is a list of models and how good it is.
type List[T any] struct {
	Models   []T
	AsOf     time.Time // when the target confirmed it, to the second
	Degraded bool
}

// Health asks GET /healthz.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	raw, err := c.RawHealth(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &h)
	}
	return h, err
}

// RawHealth is the body of GET /healthz as it came.
func (c *Client) RawHealth(ctx context.Context) (json.RawMessage, error) {
	body, _, err := c.get(ctx, "/healthz", false)
	return body, err
}

// Models asks GET /api/tags. If fresh, the daemon looks at the target first.
func (c *Client) Models(ctx context.Context, fresh bool) (List[core.Model], error) {
	return list(ctx, c, "/api/tags", fresh, func(m *core.Model, key string, v gjson.Result) {
		switch key {
		case "name":
			m.Name = v.Str
		case "digest":
			m.Digest = v.Str
		case "size":
			m.Size = v.Int()
		case "modified_at":
			m.ModifiedAt = v.Time()
		case "details":
			m.Family = v.Get("family").Str
			m.ParameterSize = v.Get("parameter_size").Str
			m.Quantization = v.Get("quantization_level").Str
		}
	})
}

// Residents asks GET /api/ps, fresh or not.
func (c *Client) Residents(ctx context.Context, fresh bool) (List[core.Resident], error) {
	return list(ctx, c, "/api/ps", fresh, func(r *core.Resident, key string, v gjson.Result) {
		switch key {
		case "name":
			r.Name = v.Str
		case "digest":
			r.Digest = v.Str
		case "size":
			r.Size = v.Int()
		case "size_vram":
			r.SizeVRAM = v.Int()
		case "context_length":
			r.ContextLength = v.Int()
		case "expires_at":
			r.ExpiresAt = v.Time()
		}
	})
}

// list asks for a list, and reads its age and health from the header. It
// reads by gjson: a command that is started for one list of 1,000 models
// spends more on encoding/json than on everything else.
func list[T any](ctx context.Context, c *Client, path string, fresh bool, read func(into *T, key string, v gjson.Result)) (List[T], error) {
	body, header, err := c.get(ctx, path, fresh)
	if err != nil {
		return List[T]{}, err
	}
	age, _ := strconv.ParseInt(header.Get(HeaderAge), 10, 64)
	l := List[T]{
		AsOf:     time.Now().Add(-time.Duration(age) * time.Second).Truncate(time.Second),
		Degraded: header.Get(HeaderDegraded) == "true",
	}
	models := gjson.GetBytes(body, "models")
	if !models.IsArray() {
		return List[T]{}, fmt.Errorf("the daemon's %s has no models", path)
	}
	models.ForEach(func(_, entry gjson.Result) bool {
		var model T
		entry.ForEach(func(key, v gjson.Result) bool {
			read(&model, key.Str, v)
			return true
		})
		l.Models = append(l.Models, model)
		return true
	})
	return l, nil
}

// get returns the body and the header of a 200.
func (c *Client) get(ctx context.Context, path string, fresh bool) ([]byte, http.Header, error) {
	header := http.Header{}
	if fresh {
		header.Set("Cache-Control", "no-cache")
	}
	resp, err := c.open(ctx, &c.http, http.MethodGet, path, header, nil)
	if err != nil {
		return nil, nil, err
	}
	body, err := c.answered(ctx, resp)
	if refused, ok := errors.AsType[*Refusal](err); ok && refused.Status == http.StatusServiceUnavailable {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoInventory, refused)
	}
	return body, resp.Header, err
}

// answered reads the whole answer, which is a [*Refusal] unless the daemon
// does what was asked.
func (c *Client) answered(ctx context.Context, resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	var body bytes.Buffer
	body.Grow(int(min(max(0, resp.ContentLength), maxAnswer)) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return nil, c.noDaemon(ctx, err)
	}
	return body.Bytes(), refusal(resp.StatusCode, body.Bytes())
}

// open asks by way of client. It is a foreman that answers, with whatever
// status.
func (c *Client) open(
	ctx context.Context, client *http.Client, method, path string, header http.Header, body io.Reader,
) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header = header
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.noDaemon(ctx, err)
	}
	if !strings.HasPrefix(resp.Header.Get("Server"), "foreman/") {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w on %s: something else does", ErrNoDaemon, c.base)
	}
	return resp, nil
}

// noDaemon is err as the reason why none answers, unless the caller left or
// the daemon wants another certificate.
func (c *Client) noDaemon(ctx context.Context, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errHush):
		err = errHush
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate") {
		return fmt.Errorf("%w: the daemon on %s wants a certificate of server.tls.client_ca: %w", ErrNotAllowed, c.base, alert)
	}
	return fmt.Errorf("%w on %s: %w", ErrNoDaemon, c.base, cause(err))
}

// cause is err without the URL and the address that net/http repeats.
func cause(err error) error {
	var timeout net.Error
	var errno syscall.Errno
	var wrapped *url.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer in time")
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &wrapped):
		return wrapped.Err
	default:
		return err
	}
}

// A Refusal is an answer of a daemon that doesn't do what was asked.
type Refusal struct {
	Status   int
	Sentence string // the daemon's
}

func (e *Refusal) Error() string {
	if e.Sentence == "" {
		return fmt.Sprintf("the daemon answered %d", e.Status)
	}
	return e.Sentence
}

// refusal is the error that a status means, if it isn't of success.
func refusal(status int, body []byte) error {
	if status/100 == 2 {
		return nil
	}
	var told struct{ Error string }
	_ = json.Unmarshal(body, &told) // what it can't tell stays ""
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return fmt.Errorf("%w: %s", ErrNotAllowed, told.Error)
	}
	return &Refusal{status, told.Error}
}
