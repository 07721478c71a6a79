package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// Spec says how to run a plugin.
type Spec struct {
	Name   string   // as the config calls it
	Path   string   // of the executable, absolute
	Args   []string // without the path
	SHA256 string   // hex; "" trusts the file
}

const (
	startTimeout = 5 * time.Second // from exec to handshake, as the contract says
	dialTimeout  = 2 * time.Second
	stopTimeout  = time.Second // for a plugin to leave by itself
	reapTimeout  = 2 * time.Second
)

// A Process is one run of a backend plugin. It implements [core.Backend].
type Process struct {
	*plugin.BackendClient
	Upstream core.Upstream // what Configure answered

	cmd      *exec.Cmd
	kill     context.CancelFunc // SIGKILL to the process group, at any moment
	client   *goplugin.Client
	conn     *grpc.ClientConn
	lifeline *os.File // held open: the plugin ends when it closes
	dir      string   // of its socket
}

// Start runs the plugin that spec names, and configures it. What it returns
// must be stopped with [Process.Stop]. Its error is one sentence about the
// plugin, with what the plugin last wrote to stderr.
func Start(ctx context.Context, spec Spec, settings core.Settings, log *slog.Logger) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stderr := &tail{log: log.With("plugin", spec.Name)}
	p, err := launch(ctx, spec, stderr)
	if err != nil {
		return nil, fmt.Errorf("start plugin %s: %w%s", spec.Name, err, stderr.said())
	}
	if p.Upstream, err = p.Configure(ctx, settings); err != nil {
		p.Stop()
		return nil, fmt.Errorf("plugin %s: %w%s", spec.Name, err, stderr.said())
	}
	return p, nil
}

// launch starts the process and connects to it, or kills it when ctx ends.
func launch(ctx context.Context, spec Spec, stderr *tail) (*Process, error) {
	check, err := secureConfig(spec)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "foreman-") // 0700: the socket needs no other lock
	if err != nil {
		return nil, err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	defer theirs.Close()

	p := &Process{lifeline: ours, dir: dir}
	p.cmd, p.kill = command(spec)
	p.cmd.Env = append(allowedEnv(), goplugin.EnvUnixSocketDir+"="+dir, plugin.EnvLifeline+"=3")
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.client = newClient(p.cmd, check, stderr)
	defer context.AfterFunc(ctx, p.kill)()
	if err := p.connect(); err != nil {
		p.Stop()
		return nil, cmp.Or(ctx.Err(), err)
	}
	return p, nil
}

// command is spec's, in a process group of its own so that its children can
// be killed with it.
func command(spec Spec) (*exec.Cmd, context.CancelFunc) {
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, spec.Path, spec.Args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, kill
}

func newClient(cmd *exec.Cmd, check *goplugin.SecureConfig, stderr *tail) *goplugin.Client {
	return goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  plugin.Handshake,
		VersionedPlugins: plugin.Sets(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Cmd:              cmd,
		SkipHostEnv:      true, // else it inherits our secrets
		SecureConfig:     check,
		StartTimeout:     startTimeout,
		Stderr:           stderr,
		// Off, since go-plugin panics while it parses some JSON lines on stderr.
		Logger: hclog.NewNullLogger(),
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTimeout}),
			grpc.WithIdleTimeout(0), // an idle connection would look like a lost one
		},
	})
}

func (p *Process) connect() error {
	client, err := p.client.Client()
	if err != nil {
		return explain(err)
	}
	backend, err := client.Dispense(plugin.KindBackend)
	if err != nil {
		return err
	}
	p.BackendClient = backend.(*plugin.BackendClient)
	p.conn = client.(*goplugin.GRPCClient).Conn
	return nil
}

// explain makes one line of go-plugin's longer stories.
func explain(err error) error {
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "Unrecognized remote plugin message:"):
		return errors.New("it didn't print the plugin handshake on stdout: is it a foreman plugin, for this machine?")
	case strings.HasPrefix(text, "incompatible API version"):
		return fmt.Errorf("it speaks another version of the plugin contract than this foreman (%d): rebuild it", plugin.Version)
	case errors.Is(err, goplugin.ErrChecksumsDoNotMatch):
		return errors.New("its sha256 isn't the one in the config: it was changed since")
	default:
		line, _, _ := strings.Cut(text, "\n")
		return errors.New(line)
	}
}

// secureConfig has a fresh hash: go-plugin doesn't reset it between starts.
func secureConfig(spec Spec) (*goplugin.SecureConfig, error) {
	if spec.SHA256 == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(spec.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("sha256 %q is not 64 hexadecimal digits", spec.SHA256)
	}
	return &goplugin.SecureConfig{Checksum: sum, Hash: sha256.New()}, nil
}

// allowedEnv is the part of our environment that a plugin may see.
func allowedEnv() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Lost returns once the connection to the plugin is lost, which is how an
// exit shows first, or once ctx ends.
func (p *Process) Lost(ctx context.Context) {
	for {
		state := p.conn.GetState()
		if state != connectivity.Ready && state != connectivity.Connecting {
			return
		}
		if !p.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// Ping asks the plugin's health service whether it still answers.
func (p *Process) Ping(ctx context.Context) error {
	_, err := grpc_health_v1.NewHealthClient(p.conn).
		Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	return err
}

// Stop ends the process: it is asked to leave, and a second later killed
// together with whatever it started. It returns within four seconds.
func (p *Process) Stop() {
	left := make(chan struct{})
	go func() {
		p.client.Kill() // hangs on a stopped process, and while anybody holds its stderr
		close(left)
	}()
	wait(left, stopTimeout)
	p.kill()
	wait(left, reapTimeout)
	if p.cmd.Process != nil {
		_ = p.cmd.Cancel() // once more: children may have outlived a plugin that left by itself
	}
	_ = p.lifeline.Close()
	_ = os.RemoveAll(p.dir)
}

func wait(done <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
