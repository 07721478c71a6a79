package plugintest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/seed-af7fee88/foreman/core/plugin"
)

// A child is a plugin process that was started as foreman.proto says, without
// any of foreman's own machinery.
type child struct {
	cmd      *exec.Cmd
	stdout   *output
	stderr   bytes.Buffer // readable after ended
	lifeline *os.File
	ended    chan struct{} // closed once the process is gone
	conn     *grpc.ClientConn
}

// An executable is a plugin on disk.
type executable struct {
	path string
	args []string
}

// command is a run of the plugin with all that foreman.proto promises it, and
// with that cookie. Its lifeline is let go when the test is over.
func (e executable) command(t *testing.T, ctx context.Context, cookie string) (cmd *exec.Cmd, dir string, lifeline *os.File) {
	t.Helper()
	dir, err := os.MkdirTemp("", "plugin") // not t.TempDir: a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		theirs.Close()
		ours.Close()
	})
	cmd = exec.CommandContext(ctx, e.path, e.args...)
	cmd.Env = append(plugin.Env(), "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR="+dir, plugin.EnvLifeline+"=3")
	if cookie != "" {
		cmd.Env = append(cmd.Env, plugin.Handshake.MagicCookieKey+"="+cookie)
	}
	cmd.ExtraFiles, cmd.WaitDelay = []*os.File{theirs}, exitTimeout
	return cmd, dir, ours
}

// start returns once the child has printed its handshake. It is stopped when
// the test is over.
func (e executable) start(t *testing.T) *child {
	t.Helper()
	cmd, dir, lifeline := e.command(t, context.Background(), plugin.Handshake.MagicCookieValue)
	c := &child{cmd: cmd, stdout: newOutput(), lifeline: lifeline, ended: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, &c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // how it ended is its own business
	}()
	t.Cleanup(func() { c.stop(t) })
	c.connect(t, dir)
	return c
}

// connect waits for the handshake and connects to where it says.
func (c *child) connect(t *testing.T, dir string) {
	t.Helper()
	select {
	case <-c.stdout.line:
	case <-c.ended:
		t.Fatalf("it exited before its handshake, having written %q", c.stderr.String())
	case <-time.After(handshakeTimeout):
		t.Fatalf("no handshake within %v", handshakeTimeout)
	}
	line, _, _ := strings.Cut(c.stdout.String(), "\n")
	socket, isHandshake := strings.CutPrefix(line, "1|1|unix|")
	socket, proto, _ := strings.Cut(socket, "|")
	if !isHandshake || proto != "grpc" && !strings.HasPrefix(proto, "grpc|") {
		t.Fatalf("it printed %q, want 1|1|unix|/path/of/the/socket|grpc", line)
	}
	if !strings.HasPrefix(socket, dir+"/") {
		t.Errorf("its socket is %s, want one in %s", socket, dir)
	}
	var err error
	c.conn, err = grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)))
	if err != nil {
		t.Fatal(err)
	}
}

// checkServing wants the child's health service to say that all is well.
func (c *child) checkServing(t *testing.T, ctx context.Context, after string) {
	t.Helper()
	health, err := grpc_health_v1.NewHealthClient(c.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
	if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatalf("after %s its health is %v, %v", after, health.GetStatus(), err)
	}
}

// stop lets go of the lifeline, as a foreman does that dies, and wants the
// child gone, with nothing on stdout but its handshake.
func (c *child) stop(t *testing.T) {
	t.Helper()
	if c.conn != nil {
		_ = c.conn.Close()
	}
	_ = c.lifeline.Close()
	select {
	case <-c.ended:
	case <-time.After(exitTimeout):
		t.Errorf("it goes on %v after its lifeline ended", exitTimeout)
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
	if _, more, _ := strings.Cut(c.stdout.String(), "\n"); more != "" {
		t.Errorf("it wrote to stdout after its handshake: %.200q", more)
	}
}

// An output is what a child wrote.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	line chan struct{} // closed once there is a whole line
}

func newOutput() *output { return &output{line: make(chan struct{})} }

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	had := bytes.IndexByte(o.buf.Bytes(), '\n') >= 0
	o.buf.Write(p)
	if !had && bytes.IndexByte(p, '\n') >= 0 {
		close(o.line)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
