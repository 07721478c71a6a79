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

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// Process says how to run a plugin's executable.
type Process struct {
	Path     string
	Args     []string
	Settings core.Settings // as for [Backend]
}

const (
	handshakeTimeout = 5 * time.Second
	exitTimeout      = 2 * time.Second
)

// BackendProcess checks that an executable is a backend plugin: that it
// starts and ends as foreman.proto demands, and, over the wire, all that
// [Backend] checks. It needs a Unix.
func BackendProcess(t *testing.T, p Process) {
	t.Run("started by hand", func(t *testing.T) { testByHand(t, p) })
	t.Run("serves until foreman is gone", func(t *testing.T) { testLife(t, p) })
	t.Run("over the wire", func(t *testing.T) {
		Backend(t, func(t *testing.T) (core.Backend, core.Settings) {
			return start(t, p).backend(), p.Settings
		})
	})
	t.Run("under foreman", func(t *testing.T) { testHosted(t, p) })
}

// testByHand wants that whoever starts it from a shell is told.
func testByHand(t *testing.T, p Process) {
	for what, cookie := range map[string]string{
		"without a cookie":    "",
		"with a wrong cookie": plugin.Handshake.MagicCookieKey + "=1",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), handshakeTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, p.Path, p.Args...)
		cmd.Env = append(plugin.Env(), cookie)
		cmd.WaitDelay = exitTimeout
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
// and that the lifeline does.
func testLife(t *testing.T, p Process) {
	c := start(t, p)
	b := c.backend()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := b.Configure(ctx, p.Settings); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := c.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		health, err := grpc_health_v1.NewHealthClient(c.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
		if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Fatalf("after %v its health is %v, %v", sig, health.GetStatus(), err)
		}
		if _, err := b.Probe(ctx); err != nil {
			t.Fatalf("after %v: %v", sig, err)
		}
	}
	c.stop(t)
}

// testHosted runs it as foreman will.
func testHosted(t *testing.T, p Process) {
	spec := host.Spec{Name: "plugin", Path: p.Path, Args: p.Args}
	run, err := host.Start(t.Context(), spec, p.Settings, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Models(t.Context(), ""); err != nil {
		t.Error(err)
	}
	began := time.Now()
	run.Stop()
	if took := time.Since(began); took > exitTimeout {
		t.Errorf("it took %v to stop", took)
	}
}
