//go:build unix

package testkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// goneTimeout is for a plugin to notice that its foreman is gone.
const goneTimeout = 2 * time.Second

// A Foreman is a real foreman with a home, a config and a port of its own:
// the daemon, which is stopped at first, and the commands beside it. A method
// that can't do what it says fails the test. One goroutine, the test's, uses
// it, but for Get.
type Foreman struct {
	URL       string // http://127.0.0.1:PORT
	Config    string // the config file
	StateDir  string // server.state_dir
	SocketDir string // where plugins' sockets are made, and nothing else

	t     testing.TB
	bin   string
	dir   string
	more  []string // of the environment
	run   *process // the daemon; nil until started
	alive *Witness // of the daemon and all that it starts
}

// Settings are the part of a config that a test may care for.
type Settings struct {
	Target   string   // its URL
	Server   string   // more lines of [server]
	Poll     string   // the lines of [poll]
	Retry    string   // the lines of [retry]
	Schedule string   // the lines of [schedule]
	Env      []string // what foreman sees besides, as NAME=VALUE
}

// NewForeman writes the config for the executable bin. Daemon and plugin end
// with the test, even if that is killed.
func NewForeman(t testing.TB, bin string, settings Settings) *Foreman {
	t.Helper()
	sockets, err := os.MkdirTemp("", "fm") // a short path: a socket's has some hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	dir, listen := t.TempDir(), freeAddress(t)
	f := &Foreman{
		URL:    "http://" + listen,
		Config: filepath.Join(dir, "foreman.toml"), StateDir: filepath.Join(dir, "state"), SocketDir: sockets,
		t: t, bin: bin, dir: dir, more: settings.Env,
	}
	text := fmt.Sprintf("[server]\nlisten = %q\nstate_dir = %q\n%s\n[target]\nurl = %q\n[poll]\n%s\n[retry]\n%s\n[schedule]\n%s\n",
		listen, f.StateDir, settings.Server, settings.Target, settings.Poll, settings.Retry, settings.Schedule)
	if err := os.WriteFile(f.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.cleanup)
	return f
}

// Start starts the daemon and waits until it answers, whatever its target
// does.
func (f *Foreman) Start() {
	f.t.Helper()
	f.alive = NewWitness(f.t)
	cmd := f.command(context.Background(), "serve")
	cmd.ExtraFiles = f.alive.ExtraFiles()
	run, err := startProcess(cmd, f.log())
	if err != nil {
		f.t.Fatalf("start foreman: %v", err)
	}
	f.run = run
	ctx, cancel := context.WithTimeout(f.t.Context(), startTimeout)
	defer cancel()
	if err := await(ctx, run.done, func() error { return getOK(ctx, f.URL+"/livez") }); err != nil {
		f.t.Fatalf("foreman serve doesn't answer on %s: %v\n%s", f.URL, err, tail(f.log()))
	}
}

// Signal sends sig to the daemon alone.
func (f *Foreman) Signal(sig syscall.Signal) {
	f.t.Helper()
	if err := f.run.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		f.t.Fatalf("%v to foreman: %v", sig, err)
	}
}

// Ended is closed once the daemon has ended.
func (f *Foreman) Ended() <-chan struct{} { return f.run.done }

// AwaitEnd waits until the daemon has ended, and then until nothing that it
// started is left. It returns how the daemon ended.
func (f *Foreman) AwaitEnd(daemon, rest time.Duration) syscall.WaitStatus {
	f.t.Helper()
	select {
	case <-f.run.done:
	case <-time.After(daemon):
		f.t.Fatalf("foreman hasn't ended within %v\n%s", daemon, tail(f.log()))
	}
	if err := f.alive.AwaitGone(rest); err != nil {
		f.t.Fatalf("a process of foreman's is left %v after it: %v", rest, err)
	}
	return f.run.state.Sys().(syscall.WaitStatus)
}

var pluginRuns = regexp.MustCompile(`msg="plugin runs".* pid=(\d+)`)

// PluginPid is the plugin's as foreman logged it last, or 0.
func (f *Foreman) PluginPid() int {
	all := pluginRuns.FindAllStringSubmatch(f.Log(), -1)
	if all == nil {
		return 0
	}
	pid, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		f.t.Fatal(err)
	}
	return pid
}

// Log is what the daemon has written so far, over all its starts.
func (f *Foreman) Log() string {
	text, err := os.ReadFile(f.log())
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// Get asks the daemon. Any goroutine may.
func (f *Foreman) Get(path string, headers ...string) (Answer, error) {
	return Get(f.t.Context(), f.URL+path, headers...)
}

// Health is the part of GET /healthz that tests look at.
type Health struct {
	Status   string
	Degraded bool
	LastPoll struct {
		OK            bool
		Reason, Error string
	} `json:"last_poll"`
	Failures  int `json:"consecutive_failures"`
	Inventory HealthList
	Resident  HealthList
	Plugins   []struct {
		Name, Kind, State string
		Restarts          int
	}
}

// HealthList is what /healthz tells of a list.
type HealthList struct {
	Models int
	Stale  bool
}

// Health asks the daemon how it is, which it always tells.
func (f *Foreman) Health() Health {
	f.t.Helper()
	answer, err := f.Get("/healthz")
	if err != nil || answer.Status != 200 {
		f.t.Fatalf("GET /healthz: %d %s, error %v", answer.Status, answer.Body, err)
	}
	var h Health
	if err := json.Unmarshal(answer.Body, &h); err != nil {
		f.t.Fatalf("GET /healthz: %v\n%s", err, answer.Body)
	}
	return h
}

// A Result is a command that has ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs a command beside the daemon, or without one. None may leave a
// process behind.
func (f *Foreman) Run(args ...string) Result {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), commandTimeout)
	defer cancel()
	alive := NewWitness(f.t)
	cmd := f.command(ctx, args...)
	cmd.ExtraFiles = alive.ExtraFiles()
	var out, words strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.t.Fatalf("foreman %q: %v", args, err)
	}
	if err := alive.AwaitGone(goneTimeout); err != nil {
		f.t.Errorf("foreman %q leaves a process behind: %v", args, err)
	}
	return Result{cmd.ProcessState.ExitCode(), out.String(), words.String()}
}

// command sees nothing of the user's own foreman or Ollama.
func (f *Foreman) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, f.bin, args...)
	cmd.Dir = f.dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + f.dir, "TMPDIR=" + f.SocketDir, "FOREMAN_CONFIG=" + f.Config,
	}, f.more...)
	return cmd
}

func (f *Foreman) cleanup() {
	if f.run == nil {
		return
	}
	f.run.kill()
	if err := f.alive.AwaitGone(goneTimeout); err != nil {
		f.t.Errorf("a process of foreman's is left: %v", err)
		if pid := f.PluginPid(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
		}
	}
	if f.t.Failed() {
		f.t.Logf("the end of foreman's log:\n%s", tail(f.log()))
	}
}

func (f *Foreman) log() string { return filepath.Join(f.dir, "serve.log") }

// BuildForeman returns the executable to test: $FOREMAN_BIN, else one that is
// built, once a test process, of the package in the working directory. It
// goes with the process.
func BuildForeman(t testing.TB) string {
	t.Helper()
	b, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return b.bin
}

type build struct {
	bin   string
	leash *exec.Cmd // held for good: as garbage it would pull
}

var buildOnce = sync.OnceValues(func() (b build, err error) {
	if bin := os.Getenv("FOREMAN_BIN"); bin != "" {
		b.bin, err = filepath.Abs(bin)
		return b, err
	}
	dir, err := os.MkdirTemp("", "foreman-test")
	if err != nil {
		return b, err
	}
	if b.leash, err = startLeash(`rm -rf -- "$1"`, dir); err != nil {
		return b, err
	}
	b.bin = filepath.Join(dir, "foreman")
	if said, err := exec.Command("go", "build", "-o", b.bin, ".").CombinedOutput(); err != nil {
		return b, fmt.Errorf("build foreman: %w\n%s", err, said)
	}
	return b, nil
})
