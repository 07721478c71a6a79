package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A foreman is a server under test, its inventory and its target. They are
// joined by pipes, so that all of it fits into a bubble of synctest.
type foreman struct {
	*inventory
	t      *testing.T
	server *api.Server
	pipes  pipes
	client *http.Client
	log    *logBuffer
	events *feed
	opts   api.Options                 // as it started
	away   atomic.Pointer[net.OpError] // why the target can't be reached, nil while it can

	mu     sync.Mutex
	misses []core.MissingData // that it told of

	stop    context.CancelFunc
	stopped chan struct{}
	err     error // of Run, once stopped
}

const upstream = "http://ollama.test:11434"

// A setup is all that a server is made of.
type setup struct {
	api.Deps
	api.Options
}

// start serves what is believed, and doesn't try anything twice. A nil target
// is one that mustn't be asked.
func start(t *testing.T, believed *core.Snapshot, target http.Handler, set ...func(*setup)) *foreman {
	t.Helper()
	f := &foreman{
		inventory: &inventory{snapshot: believed}, t: t, events: newFeed(100),
		pipes: newPipes(), log: new(logBuffer),
	}
	opts := setup{api.Deps{
		Version: "1.2.3", Inventory: f.inventory, Events: f.events,
		Upstream: func() (core.Upstream, error) { return core.Upstream{URL: upstream}, nil },
		Probe: func(context.Context) error {
			if f.away.Load() != nil {
				return &core.Fault{Reason: core.ReasonRefused}
			}
			return nil
		},
		Plugins: func() []core.PluginStatus {
			return []core.PluginStatus{{Name: "ollama", Kind: "backend", State: core.PluginRunning, Restarts: 2}}
		},
		Notifiers: func() []core.NotifierStatus { return nil },
		Config:    func() api.ConfigHealth { return api.ConfigHealth{} },
		Missing:   f.miss,
	}, api.Options{OpenAI: true, MaxBody: 1 << 20, PollInterval: 30 * time.Second}}
	for _, s := range set {
		s(&opts)
	}
	f.server = api.New(opts.Deps, opts.Options, slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	f.opts = opts.Options
	f.serveTarget(target)
	f.run()
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext:        func(context.Context, string, string) (net.Conn, error) { return f.pipes.dial() },
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(f.client.CloseIdleConnections)
	return f
}

func (f *foreman) serveTarget(target http.Handler) {
	if target == nil {
		f.server.DialTarget(func() (net.Conn, error) {
			f.t.Error("the target was asked")
			return nil, refused
		})
		return
	}
	listener, server, done := newPipes(), &http.Server{Handler: target}, make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	f.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	f.server.DialTarget(func() (net.Conn, error) {
		if err := f.away.Load(); err != nil {
			return nil, err
		}
		return listener.dial()
	})
}

var refused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// leave has the target gone: connections to it are refused.
func (f *foreman) leave() {
	f.away.Store(refused)
	f.server.CloseIdle()
}

func (f *foreman) run() {
	ctx, cancel := context.WithCancel(context.Background())
	f.stop, f.stopped = cancel, make(chan struct{})
	go func() {
		defer close(f.stopped)
		f.err = f.server.Run(ctx, f.pipes)
	}()
	f.t.Cleanup(func() {
		cancel()
		if <-f.stopped; f.err != nil {
			f.t.Errorf("Run: %v", f.err)
		}
	})
}

func (f *foreman) miss(m core.MissingData) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.misses = append(f.misses, m)
}

// missed are the misses since it was asked last.
func (f *foreman) missed() []core.MissingData {
	f.mu.Lock()
	defer f.mu.Unlock()
	told := f.misses
	f.misses = nil
	return told
}

// change puts other options in force.
func (f *foreman) change(set func(*api.Options)) {
	opts := f.opts
	set(&opts)
	f.server.Set(opts)
}

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() pipes { return pipes{make(chan net.Conn), make(chan struct{})} }

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error { close(p.closed); return nil } // http.Server calls it once

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p pipes) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, refused
	}
}

// logBuffer holds what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// An answer is what a caller gets.
type answer struct {
	status int
	header http.Header
	body   string
}

// do asks and reads the whole answer. Header lines are "Name: value".
func (f *foreman) do(method, path, body string, header ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://localhost:11435"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Add(name, value)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	return read(f.t, resp)
}

func (f *foreman) get(path string, header ...string) answer {
	f.t.Helper()
	return f.do("GET", path, "", header...)
}

func (f *foreman) dial() net.Conn {
	f.t.Helper()
	conn, err := f.pipes.dial()
	if err != nil {
		f.t.Fatal(err)
	}
	return conn
}

// raw sends text on a connection of its own, and reads one answer.
func (f *foreman) raw(text string) answer {
	f.t.Helper()
	conn := f.dial()
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }()
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		f.t.Fatalf("%q: %v", text, err)
	}
	return read(f.t, resp)
}

func read(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// says compares an answer's status and body, the latter as JSON.
func (a answer) says(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || !sameJSON(t, a.body, body) {
		t.Errorf("answered %d %s\nwant     %d %s", a.status, a.body, status, body)
	}
}

// native is the error's sentence in the shape of Ollama's own routes.
func (a answer) native(t *testing.T) string {
	t.Helper()
	var e struct{ Error string }
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Errorf("%v: %s", err, a.body)
	}
	return e.Error
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y bytes.Buffer
	if json.Compact(&x, []byte(a)) != nil || json.Compact(&y, []byte(b)) != nil {
		return false
	}
	return x.String() == y.String()
}
