package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/seed-af7fee88/foreman/core/plugin"
)

// Spec says how to run a plugin.
type Spec struct {
	Kind    string   // [plugin.KindBackend] or [plugin.KindNotifier]
	Name    string   // as the config calls it
	Path    string   // of the executable, absolute
	Args    []string // without the path
	SHA256  string   // hex; "" trusts the file
	Version string   // of the plugin; "" is what it states itself
}

const (
	startTimeout = 5 * time.Second // from exec to handshake, as the contract says
	dialTimeout  = 2 * time.Second
	stopTimeout  = time.Second // for a plugin to leave by itself
	reapTimeout  = time.Second // for the kernel to end one that was killed

	// maxReply is four times what the built-in backends read of a target.
	maxReply = 256 << 20
)

// A process is one run of a plugin of either kind.
type process struct {
	spec     Spec
	run      *run
	client   goplugin.ClientProtocol // nil unless it is connected
	conn     *grpc.ClientConn        // client's
	protocol int                     // version of the contract that both speak
	version  string                  // of the plugin; set once it is configured

	suspect chan struct{} // holds a token after a call that it didn't answer
	calls   calls
}

var errNotReady = fmt.Errorf("it wasn't ready within %v", startTimeout)

// start runs the plugin that spec names and configures it. Its error is one
// sentence about the plugin, with what the plugin last wrote to stderr.
func start(ctx context.Context, spec Spec, log *slog.Logger, configure func(context.Context, *process) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errNotReady)
	defer cancel()
	said := &tail{}
	p, err := launch(ctx, spec, said, log.With("plugin", spec.Name))
	if err != nil {
		return fmt.Errorf("start plugin %s: %w%s", spec.Name, err, said)
	}
	if err := configure(ctx, p); err != nil {
		p.Stop()
		return fmt.Errorf("plugin %s: %w%s", spec.Name, err, said)
	}
	return nil
}

// launch starts the process and connects to it, or kills it when ctx ends.
func launch(ctx context.Context, spec Spec, said *tail, log *slog.Logger) (*process, error) {
	if err := checkSum(spec); err != nil {
		return nil, err
	}
	p := &process{spec: spec, run: newRun(spec), suspect: make(chan struct{}, 1)}
	defer context.AfterFunc(ctx, p.run.kill)()
	if err := p.connect(said, log); err != nil {
		p.Stop()
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	return p, nil
}

// connect starts the process and waits for its handshake.
func (p *process) connect(said *tail, log *slog.Logger) (err error) {
	defer func() { // go-plugin trips over a handshake with a certificate in it
		if r := recover(); r != nil {
			err = fmt.Errorf("its handshake makes no sense: %v", r)
		}
	}()
	late := &lineLog{log: log, tail: said}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  plugin.Handshake,
		VersionedPlugins: plugin.Sets(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true, // else it inherits our secrets
		StartTimeout:     startTimeout,
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p.run.prepare(cmd.Env, dir)
			return p.run, nil
		},
		// What a plugin in Go writes to os.Stdout and os.Stderr after the
		// handshake comes over the connection, by one goroutine.
		Stderr: &lineLog{log: log, tail: said}, SyncStdout: late, SyncStderr: late,
		// Off: go-plugin panics while it parses some JSON lines on stderr.
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		GRPCDialOptions: dialOptions(),
	})
	if p.client, err = client.Client(); err != nil {
		return explain(err)
	}
	p.conn, p.protocol = p.client.(*goplugin.GRPCClient).Conn, client.NegotiatedVersion()
	return nil
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTimeout}),
		grpc.WithIdleTimeout(0), // an idle connection would look like a lost one
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)),
	}
}

// explain makes one line of go-plugin's longer stories.
func explain(err error) error {
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "Unrecognized remote plugin message:"), strings.HasPrefix(text, "plugin exited before"):
		return errors.New("it didn't print the plugin handshake on stdout: is it a foreman plugin, for this machine?")
	case strings.HasPrefix(text, "incompatible API version"):
		return fmt.Errorf("it speaks another version of the plugin contract than this foreman (%d): rebuild it", plugin.Version)
	case strings.HasPrefix(text, "timeout while waiting"):
		return errNotReady
	default:
		line, _, _ := strings.Cut(text, "\n")
		return errors.New(line)
	}
}

// checkSum reports whether the executable is still the one in the config.
func checkSum(spec Spec) error {
	if spec.SHA256 == "" {
		return nil
	}
	want, err := hex.DecodeString(spec.SHA256)
	if err != nil || len(want) != sha256.Size {
		return fmt.Errorf("sha256 %q is not 64 hexadecimal digits", spec.SHA256)
	}
	// Its hash would keep what it was given, were it used for a second start.
	check := goplugin.SecureConfig{Checksum: want, Hash: sha256.New()}
	same, err := check.Check(spec.Path)
	switch {
	case err != nil:
		return err
	case !same:
		return errors.New("its sha256 isn't the one in the config: it was changed since")
	default:
		return nil
	}
}

// lost returns once the process has ended or the connection to it is lost,
// and says how; it returns nil once ctx ends.
func (p *process) lost(ctx context.Context) error {
	broken := make(chan struct{})
	watch, stop := context.WithCancel(ctx)
	defer func() { stop(); <-broken }()
	go func() {
		defer close(broken)
		state := p.conn.GetState()
		for state == connectivity.Ready || state == connectivity.Connecting {
			if !p.conn.WaitForStateChange(watch, state) {
				return
			}
			state = p.conn.GetState()
		}
	}()
	select {
	case <-p.run.ended:
	case <-broken: // which is how an end shows first
		if ctx.Err() != nil {
			return nil
		}
		within(drainTimeout, p.run.ended)
	}
	return p.run.ending()
}

// Ping asks the plugin's health service whether it still answers.
func (p *process) Ping(ctx context.Context) error {
	_, err := grpc_health_v1.NewHealthClient(p.conn).
		Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	return err
}

// Stop ends the process: it is asked to leave, and a second later killed
// together with whatever it started. It returns within three seconds.
func (p *process) Stop() {
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if p.client != nil {
			_ = p.client.Close() // hangs as long as a hanging process lives
		}
		p.run.letGo() // for one that knows no go-plugin
	}()
	if p.client != nil {
		within(stopTimeout, p.run.ended)
	}
	p.run.end()
	within(reapTimeout, asked)
}

// within waits for done, at most that long.
func within(most time.Duration, done <-chan struct{}) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
