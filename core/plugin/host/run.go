package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/seed-af7fee88/foreman/core/plugin"
)

// drainTimeout is how long what a process leaves behind is still read: whoever
// escaped from its group may hold it open for ever.
const drainTimeout = 200 * time.Millisecond

// A run is one execution of a plugin, as go-plugin sees it. go-plugin's own
// way of running one hands it our stdin, and waits without bound for whoever
// holds its outputs.
type run struct {
	cmd    *exec.Cmd
	kill   context.CancelFunc // SIGKILL to the process group, at any moment
	dir    string             // of its socket
	stdout *os.File           // our ends of its outputs; nil unless it was started
	stderr *os.File

	lifeline *os.File // held open: the plugin ends when it closes

	ended   chan struct{} // closed once the process is gone, with its group
	endedAs error         // readable after ended
	drained chan struct{} // closed once go-plugin has read all of both outputs
}

var _ runner.Runner = (*run)(nil)

// newRun prepares spec to be run in a process group of its own, so that its
// children can be killed with it.
func newRun(spec Spec) *run {
	ctx, kill := context.WithCancel(context.Background())
	r := &run{kill: kill, ended: make(chan struct{}), drained: make(chan struct{})}
	r.cmd = exec.CommandContext(ctx, spec.Path, spec.Args...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = r.killGroup
	return r
}

func (r *run) killGroup() error { return syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) }

// prepare takes what go-plugin wants in the environment, and the directory
// that it made for the socket, of mode 0700: the socket needs no other lock.
func (r *run) prepare(env []string, dir string) {
	r.dir = dir
	r.cmd.Env = append(append(plugin.Env(), env...), plugin.EnvLifeline+"=3")
}

// Start implements [runner.Runner].
func (r *run) Start(context.Context) error {
	var theirs [3]*os.File // lifeline, stdout, stderr
	defer func() {
		for _, f := range theirs {
			_ = f.Close() // nil too
		}
	}()
	var errs [3]error
	theirs[0], r.lifeline, errs[0] = os.Pipe()
	r.stdout, theirs[1], errs[1] = os.Pipe()
	r.stderr, theirs[2], errs[2] = os.Pipe()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	r.cmd.ExtraFiles = theirs[:1]
	r.cmd.Stdout, r.cmd.Stderr = theirs[1], theirs[2]
	if err := r.cmd.Start(); err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			return fmt.Errorf("%s: %w", pathErr.Path, pathErr.Err)
		}
		return err
	}
	go r.reap()
	return nil
}

// reap waits for the process's end and kills what it leaves behind.
func (r *run) reap() {
	r.endedAs = r.cmd.Wait()
	_ = r.killGroup()
	close(r.ended)
}

// ending says how the process ended, or that it didn't.
func (r *run) ending() error {
	select {
	case <-r.ended:
	default:
		return errors.New("it closed its connection")
	}
	if r.endedAs != nil {
		return fmt.Errorf("it exited: %w", r.endedAs)
	}
	return errors.New("it exited")
}

// Wait implements [runner.Runner]. go-plugin calls it when it has read both
// outputs to their end.
func (r *run) Wait(context.Context) error {
	close(r.drained)
	<-r.ended
	return r.endedAs
}

// Kill implements [runner.Runner].
func (r *run) Kill(context.Context) error {
	r.kill()
	return nil
}

// letGo tells the process that nobody needs it any more.
func (r *run) letGo() { _ = r.lifeline.Close() }

// end makes sure that the process is gone, and gives back what it held.
func (r *run) end() {
	r.kill()
	if r.cmd.Process != nil {
		within(reapTimeout, r.ended)
		within(drainTimeout, r.drained)
	}
	for _, f := range []*os.File{r.lifeline, r.stdout, r.stderr} {
		_ = f.Close() // nil too
	}
	if r.dir != "" {
		_ = os.RemoveAll(r.dir)
	}
}

// Stdout implements [runner.Runner].
func (r *run) Stdout() io.ReadCloser { return &firstLine{ReadCloser: r.stdout} }

// Stderr implements [runner.Runner].
func (r *run) Stderr() io.ReadCloser { return r.stderr }

// Name implements [runner.Runner].
func (r *run) Name() string { return r.cmd.Path }

// ID implements [runner.Runner].
func (r *run) ID() string { return strconv.Itoa(r.cmd.Process.Pid) }

// Diagnose implements [runner.Runner].
func (r *run) Diagnose(context.Context) string { return "" }

// PluginToHost implements [runner.AddrTranslator].
func (r *run) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" {
		return "", "", fmt.Errorf("it listens on %s, not on a unix socket", network)
	}
	return network, address, nil
}

// HostToPlugin implements [runner.AddrTranslator].
func (r *run) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// A firstLine passes the first line on, which is the handshake, and swallows
// the rest: go-plugin stops reading at a line of 64 KiB, and the plugin would
// then block.
type firstLine struct {
	io.ReadCloser
	over bool
}

func (f *firstLine) Read(p []byte) (int, error) {
	if f.over {
		_, _ = io.Copy(io.Discard, f.ReadCloser)
		return 0, io.EOF
	}
	n, err := f.ReadCloser.Read(p)
	if i := bytes.IndexByte(p[:n], '\n'); i >= 0 {
		f.over = true
		return i + 1, nil
	}
	return n, err
}
