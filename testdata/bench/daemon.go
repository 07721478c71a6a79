package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const startTimeout = 10 * time.Second

// A setup is a foreman with a home and a config of its own.
type setup struct {
	bench  *bench
	home   string
	config string
	listen string
	target string

	parallel int // schedule.parallel
}

// newSetup is one in front of the target at that URL. Its config leaves all
// else as it is by default, but that as many requests run at a time as there
// are callers: else what is measured were the wait for a turn.
func newSetup(b *bench, target string) (*setup, error) {
	home, err := os.MkdirTemp(b.dir, "home-")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &setup{bench: b, home: home, config: filepath.Join(home, "foreman.toml"), listen: listener.Addr().String(), target: target, parallel: 2 * most}
	if err := listener.Close(); err != nil {
		return nil, err
	}
	return s, s.write("")
}

// write replaces the config at once, as careful editors do. more goes on with
// the table of the target.
func (s *setup) write(more string) error {
	text := fmt.Sprintf("[schedule]\nparallel = %d\n[server]\nlisten = %q\n[target]\nurl = %q\n%s", s.parallel, s.listen, s.target, more)
	if err := os.WriteFile(s.config+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(s.config+".new", s.config)
}

func (s *setup) url() string { return "http://" + s.listen }

// command is foreman with this setup and nothing of our environment.
func (s *setup) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := command(ctx, s.bench.foreman, append([]string{"--config", s.config}, args...)...)
	cmd.Env = []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	return cmd
}

// A daemon is a foreman serve.
type daemon struct {
	child
	*setup
}

// startDaemon returns once foreman serves the inventory of the target.
func startDaemon(ctx context.Context, b *bench, target string) (*daemon, error) {
	return startWith(ctx, b, target, "")
}

// startWith is startDaemon with more in its config.
func startWith(ctx context.Context, b *bench, target, more string) (*daemon, error) {
	s, err := newSetup(b, target)
	if err != nil {
		return nil, err
	}
	if err := s.write(more); err != nil {
		return nil, err
	}
	return s.serve(ctx)
}

// serve starts a daemon with this setup, as startDaemon does.
func (s *setup) serve(ctx context.Context) (*daemon, error) {
	var log bytes.Buffer
	cmd := s.command(ctx, "serve")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{child{cmd}, s}
	if err := d.ready(ctx); err != nil {
		d.stop()
		return nil, fmt.Errorf("foreman serve: %w; it wrote: %s", err, &log)
	}
	return d, nil
}

func (d *daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url()+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
