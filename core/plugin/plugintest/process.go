package plugintest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// Process says how to run a backend's executable.
type Process struct {
	Path     string
	Args     []string
	Settings core.Settings // as for [Backend]
}

const (
	handshakeTimeout = 5 * time.Second
	exitTimeout      = 2 * time.Second
	// maxReply is what foreman takes, in bytes.
	maxReply = 256 << 20
)

var silent = slog.New(slog.DiscardHandler)

// BackendProcess checks that an executable is a backend plugin: that it
// starts and ends as foreman.proto demands, and, over the wire, all that
// [Backend] checks. It needs a Unix.
func BackendProcess(t *testing.T, p Process) {
	e := executable{p.Path, p.Args}
	t.Run("started by hand", func(t *testing.T) { testByHand(t, e) })
	t.Run("serves until foreman is gone", func(t *testing.T) {
		testLife(t, e, func(ctx context.Context, c *child) (func() error, error) {
			b := plugin.NewBackendClient(c.conn)
			_, err := b.Configure(ctx, p.Settings)
			return func() error { _, err := b.Probe(ctx); return err }, err
		})
	})
	t.Run("outlives a bad call", func(t *testing.T) { testBadBackendCalls(t, e, p.Settings) })
	t.Run("over the wire", func(t *testing.T) {
		Backend(t, func(t *testing.T) (core.Backend, core.Settings) {
			return plugin.NewBackendClient(e.start(t).conn), p.Settings
		})
	})
	t.Run("under foreman", func(t *testing.T) {
		run, err := host.StartBackend(t.Context(), e.spec(plugin.KindBackend), p.Settings, silent)
		if err != nil {
			t.Fatal(err)
		}
		defer checkStop(t, run.Stop)
		if _, err := run.Models(t.Context(), ""); err != nil {
			t.Error(err)
		}
	})
}

// NotifierProcess checks that an executable is a notifier plugin: that it
// starts and ends as foreman.proto demands, and, over the wire, all that
// [Notifier] checks. It needs a Unix.
func NotifierProcess(t *testing.T, settings NotifierSettings, path string, args ...string) {
	e := executable{path, args}
	t.Run("started by hand", func(t *testing.T) { testByHand(t, e) })
	t.Run("serves until foreman is gone", func(t *testing.T) {
		testLife(t, e, func(ctx context.Context, c *child) (func() error, error) {
			n := plugin.NewNotifierClient(c.conn)
			err := n.Configure(ctx, settings.Good)
			return func() error { return n.Notify(ctx, events()[0]) }, err
		})
	})
	t.Run("outlives a bad call", func(t *testing.T) { testBadCalls(t, e, settings) })
	t.Run("over the wire", func(t *testing.T) {
		Notifier(t, settings, func(t *testing.T) core.Notifier { return plugin.NewNotifierClient(e.start(t).conn) })
	})
	t.Run("under foreman", func(t *testing.T) { testHostedNotifier(t, e, settings.Good, false) })
	if settings.Silent != nil {
		t.Run("stops under foreman while it delivers", func(t *testing.T) { testHostedNotifier(t, e, settings.Silent, true) })
	}
}

func (e executable) spec(kind string) host.Spec {
	return host.Spec{Kind: kind, Name: "plugin", Path: e.path, Args: e.args}
}

// testByHand wants that whoever starts it from a shell is told. It lacks
// nothing but the cookie: it may not fail for another reason.
func testByHand(t *testing.T, e executable) {
	for what, cookie := range map[string]string{"without a cookie": "", "with a wrong cookie": "1"} {
		ctx, cancel := context.WithTimeout(t.Context(), handshakeTimeout)
		defer cancel()
		cmd, _, _ := e.command(t, ctx, cookie)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if ctx.Err() != nil || !errors.As(err, &exit) {
			t.Errorf("%s it ended with %v, want an exit code over 0 within %v", what, err, handshakeTimeout)
		}
		if stdout.Len() > 0 {
			t.Errorf("%s it wrote to stdout: %q", what, &stdout)
		}
		if !strings.Contains(strings.TrimSpace(stderr.String()), " ") {
			t.Errorf("%s it wrote no sentence to stderr: %q", what, &stderr)
		}
	}
}

// testLife wants that neither a signal nor an idle client ends the process,
// and that the lifeline does. configure returns a call that shall succeed.
func testLife(t *testing.T, e executable, configure func(context.Context, *child) (call func() error, err error)) {
	c := e.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	call, err := configure(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := c.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		c.checkServing(t, ctx, sig.String())
		if err := call(); err != nil {
			t.Fatalf("after %v: %v", sig, err)
		}
	}
	c.stop(t)
}

// testBadCalls wants that what a call makes of nonsense, such as a panic, ends
// that call only.
func testBadCalls(t *testing.T, e executable, settings NotifierSettings) {
	c := e.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	raw := pluginpb.NewNotifierClient(c.conn)
	_, _ = raw.Notify(ctx, &pluginpb.NotifyRequest{})
	c.checkServing(t, ctx, "an event before Configure")
	n := plugin.NewNotifierClient(c.conn)
	if err := n.Configure(ctx, settings.Good); err != nil {
		t.Fatal(err)
	}
	_, _ = raw.Notify(ctx, &pluginpb.NotifyRequest{})
	_, _ = raw.Notify(ctx, &pluginpb.NotifyRequest{Event: &pluginpb.Event{Type: "test", Data: []byte("no JSON")}})
	c.checkServing(t, ctx, "events without a meaning")
	if err := n.Notify(ctx, events()[0]); err != nil {
		t.Errorf("after events without a meaning: %v", err)
	}
}

// testBadBackendCalls is [testBadCalls] for a backend.
func testBadBackendCalls(t *testing.T, e executable, settings core.Settings) {
	c := e.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	raw := pluginpb.NewBackendClient(c.conn)
	_, _ = raw.Probe(ctx, &pluginpb.ProbeRequest{})
	_, _ = raw.Models(ctx, &pluginpb.ModelsRequest{})
	_, _ = raw.Running(ctx, &pluginpb.RunningRequest{})
	c.checkServing(t, ctx, "calls before Configure")
	b := plugin.NewBackendClient(c.conn)
	if _, err := b.Configure(ctx, settings); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Models(ctx, ""); err != nil {
		t.Errorf("after calls before Configure: %v", err)
	}
	_, _ = raw.Configure(ctx, &pluginpb.ConfigureRequest{Url: "://", Settings: []byte("no JSON")})
	c.checkServing(t, ctx, "settings without a meaning")
}

// testHostedNotifier runs it as foreman will. A delivery to a silent
// destination is still under way when it is stopped.
func testHostedNotifier(t *testing.T, e executable, settings []byte, isSilent bool) {
	run, err := host.StartNotifier(t.Context(), e.spec(plugin.KindNotifier), settings, silent)
	if err != nil {
		t.Fatal(err)
	}
	if !isSilent {
		defer checkStop(t, run.Stop)
		if err := run.Notify(t.Context(), events()[0]); err != nil {
			t.Error(err)
		}
		return
	}
	delivered := make(chan error, 1)
	go func() { delivered <- run.Notify(t.Context(), events()[0]) }()
	<-time.After(underWay)
	checkStop(t, run.Stop)
	if err := <-delivered; err == nil {
		t.Error("it delivered to a destination that never answers")
	}
}

func checkStop(t *testing.T, stop func()) {
	t.Helper()
	began := time.Now()
	stop()
	if took := time.Since(began); took > exitTimeout {
		t.Errorf("it took %v to stop", took)
	}
}
