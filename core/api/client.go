package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

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
// [ErrNotAllowed], [ErrNoInventory], a context's, or say what the daemon
// answered.
type Client struct {
	base  string
	token string
	http  http.Client
}

// NewClient returns a client of the daemon that listens on the address, by
// the config's words.
func NewClient(listen, token string) *Client {
	host, port, err := net.SplitHostPort(listen)
	if err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		listen = net.JoinHostPort("localhost", port)
	}
	return &Client{base: "http://" + listen, token: token, http: http.Client{
		Timeout: clientTimeout,
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: clientDial}).DialContext,
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
	_, err := c.get(ctx, "/healthz", false, &h)
	return h, err
}

// Models asks GET /api/tags. If fresh, the daemon looks at the target first.
func (c *Client) Models(ctx context.Context, fresh bool) (List[core.Model], error) {
	var body struct{ Models []listed }
	list, err := get[core.Model](ctx, c, "/api/tags", fresh, &body)
	for _, m := range body.Models {
		list.Models = append(list.Models, core.Model{
			Name: m.Name, Digest: m.Digest, Size: m.Size, ModifiedAt: m.ModifiedAt,
			Family: m.Details.Family, ParameterSize: m.Details.ParameterSize, Quantization: m.Details.Quantization,
		})
	}
	return list, err
}

// Residents asks GET /api/ps, fresh or not.
func (c *Client) Residents(ctx context.Context, fresh bool) (List[core.Resident], error) {
	var body struct{ Models []listed }
	list, err := get[core.Resident](ctx, c, "/api/ps", fresh, &body)
	for _, m := range body.Models {
		list.Models = append(list.Models, core.Resident{
			Name: m.Name, Digest: m.Digest, Size: m.Size, SizeVRAM: m.SizeVRAM,
			ContextLength: m.ContextLength, ExpiresAt: m.ExpiresAt,
		})
	}
	return list, err
}

// listed is what the commands show of an entry of either list.
type listed struct {
	Name       string
	Digest     string
	Size       int64
	ModifiedAt time.Time `json:"modified_at"`
	Details    struct {
		Family        string
		ParameterSize string `json:"parameter_size"`
		Quantization  string `json:"quantization_level"`
	}
	ExpiresAt     time.Time `json:"expires_at"`
	SizeVRAM      int64     `json:"size_vram"`
	ContextLength int64     `json:"context_length"`
}

// get asks for a list, and reads its age and health from the header.
func get[T any](ctx context.Context, c *Client, path string, fresh bool, into any) (List[T], error) {
	header, err := c.get(ctx, path, fresh, into)
	if err != nil {
		return List[T]{}, err
	}
	age, _ := strconv.ParseInt(header.Get(HeaderAge), 10, 64)
	return List[T]{
		AsOf:     time.Now().Add(-time.Duration(age) * time.Second).Truncate(time.Second),
		Degraded: header.Get(HeaderDegraded) == "true",
	}, nil
}

func (c *Client) get(ctx context.Context, path string, fresh bool, into any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	if fresh {
		req.Header.Set("Cache-Control", "no-cache")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w on %s: %w", ErrNoDaemon, c.base, err)
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Server"), "foreman/") {
		return nil, fmt.Errorf("%w on %s: something else does", ErrNoDaemon, c.base)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %w", ErrNoDaemon, c.base, err)
	}
	if err := refusal(resp.StatusCode, body); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("read the daemon's %s: %w", path, err)
	}
	return resp.Header, nil
}

// refusal is the error that a status other than 200 means.
func refusal(status int, body []byte) error {
	if status == http.StatusOK {
		return nil
	}
	var told struct{ Error string }
	_ = json.Unmarshal(body, &told) // what it can't tell stays ""
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s", ErrNotAllowed, told.Error)
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s", ErrNoInventory, told.Error)
	default:
		return fmt.Errorf("the daemon answered %d: %s", status, told.Error)
	}
}
