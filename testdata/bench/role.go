package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// roles are what this executable does in a process of its own, by the first
// word of its command line. Each says one line on stdout, and ends when its
// stdin does: then whoever started it is gone.
var roles = map[string]func(ctx context.Context, args []string) error{
	"target":  serveTarget,
	"bare":    serveBare,
	"poller":  pollAndWeigh,
	"chat":    serveChat,
	"reverse": serveReverse,
	"splice":  serveSplice,
	"absent":  serveAbsent,
	"api":     serveAPI,
	"turns":   serveTurns,
	"fill":    fillStore,
	"stuck":   serveStuck,
	"mortal":  serveMortal,
}

// A roleProcess is a server that says its URL.
type roleProcess struct {
	child
	url string
}

// startRole starts a role that is a server.
func startRole(ctx context.Context, name string, args ...string) (*roleProcess, error) {
	cmd, err := roleCommand(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &roleProcess{child: child{cmd}}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s didn't start: %w", name, err)
	}
	p.url = strings.TrimSpace(line)
	return p, nil
}

// play runs a role until it is over, or stdin is.
func play(ctx context.Context, role func(context.Context, []string) error, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return role(ctx, args)
}

// roleCommand is this executable in a role. It ends with ctx, or with us.
func roleCommand(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := command(ctx, self, append([]string{name}, args...)...)
	cmd.Stderr = os.Stderr
	_, err = cmd.StdinPipe()
	return cmd, err
}

// command is one that is asked to end when ctx does.
func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// child is a process that was started.
type child struct{ cmd *exec.Cmd }

// stop asks the child to end, and waits until it has.
func (c child) stop() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Cancel()
	_ = c.cmd.Wait() // how it ended doesn't matter any more
}

// serve serves h on any port of loopback until ctx ends, and says the URL.
func serve(ctx context.Context, h http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return serveOn(ctx, listener, h)
}

// serveOn is serve on a listener.
func serveOn(ctx context.Context, listener net.Listener, h http.Handler) error {
	fmt.Println("http://" + listener.Addr().String())
	server := &http.Server{Handler: h}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// fetch returns the body and header of a 200.
func fetch(ctx context.Context, url string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return body, resp.Header, err
}
