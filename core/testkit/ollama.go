//go:build unix

package testkit

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout   = 30 * time.Second // until a server answers
	stopTimeout    = 10 * time.Second // from SIGTERM to its end
	commandTimeout = 60 * time.Second // of one run of the command line
)

// Ollama is a real server with its own home, models and port. A method that
// can't do what it says fails the test. One goroutine, the test's, uses it.
type Ollama struct {
	URL  string // http://127.0.0.1:PORT
	Host string // 127.0.0.1:PORT
	Bin  string // the executable, server and command line in one

	t       testing.TB
	dir     string
	wrapper []string
	run     *process // nil while stopped
}

// StartOllama starts `bin serve` and makes the models of [Names]. The server
// and its runners end with the test, even if that is killed.
func StartOllama(t testing.TB, bin string) *Ollama {
	t.Helper()
	return StartOllamaOn(t, bin, freeAddress(t))
}

// StartOllamaOn is [StartOllama] on an address that isn't in use. The wrapper
// is a command that runs the rest of its command line in another place, such
// as nsenter; it must become the server, not be its parent.
func StartOllamaOn(t testing.TB, bin, host string, wrapper ...string) *Ollama {
	t.Helper()
	o := &Ollama{URL: "http://" + host, Host: host, Bin: bin, t: t, dir: t.TempDir(), wrapper: wrapper}
	t.Cleanup(o.cleanup)
	o.start()
	o.createModels()
	return o
}

// Pid is the server's, or 0 while it is stopped.
func (o *Ollama) Pid() int {
	if o.run == nil {
		return 0
	}
	return o.run.pid()
}

// Stop asks the server to end and waits until it has.
func (o *Ollama) Stop() { o.end(syscall.SIGTERM) }

// Kill ends the server and its runners as a power cut would.
func (o *Ollama) Kill() { o.end(syscall.SIGKILL) }

// Pause freezes the server and its runners. The kernel still completes
// handshakes for it, so a caller connects and then waits.
func (o *Ollama) Pause() { o.signal(syscall.SIGSTOP) }

// Resume ends a [Ollama.Pause].
func (o *Ollama) Resume() { o.signal(syscall.SIGCONT) }

// Restart starts the server anew on the same port with the same models. One
// that still runs is stopped first.
func (o *Ollama) Restart() {
	o.t.Helper()
	if o.run != nil {
		o.Stop()
	}
	o.start()
}

// Run runs the stock command line against any server.
func (o *Ollama) Run(url string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(o.t.Context(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Bin, args...)
	cmd.Dir = o.dir
	cmd.Env = o.environment("OLLAMA_HOST=" + url)
	var out, words strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes
	err = cmd.Run()
	return out.String(), words.String(), err
}

func (o *Ollama) start() {
	o.t.Helper()
	line := append(slices.Clone(o.wrapper), o.Bin, "serve")
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = o.dir
	cmd.Env = o.environment("OLLAMA_HOST=" + o.Host)
	run, err := startProcess(cmd, o.log())
	if err != nil {
		o.t.Fatalf("start ollama: %v", err)
	}
	o.run = run
	ctx, cancel := context.WithTimeout(o.t.Context(), startTimeout)
	defer cancel()
	answers := func() error { return getOK(ctx, o.URL+"/api/version") }
	if err := await(ctx, run.done, answers); err != nil {
		o.t.Fatalf("ollama serve doesn't answer on %s: %v\n%s", o.URL, err, tail(o.log()))
	}
}

// end ends a running server, by force when sig alone doesn't.
func (o *Ollama) end(sig syscall.Signal) {
	o.t.Helper()
	o.signal(sig)
	select {
	case <-o.run.done:
	case <-time.After(stopTimeout):
		o.t.Errorf("ollama didn't end %v after %v: killing it", stopTimeout, sig)
		o.run.kill()
	}
	o.run = nil
}

func (o *Ollama) signal(sig syscall.Signal) {
	o.t.Helper()
	if o.run == nil {
		o.t.Fatalf("%v to an ollama that is stopped", sig)
	}
	if err := o.run.signal(sig); err != nil {
		o.t.Fatalf("%v to ollama: %v", sig, err)
	}
}

func (o *Ollama) cleanup() {
	if o.run != nil {
		o.run.kill()
	}
	if o.t.Failed() {
		o.t.Logf("the end of ollama's log:\n%s", tail(o.log()))
	}
}

// environment is all that ollama sees: nothing of the user's own Ollama. A
// model answers one request at a time, so that a second one waits for it.
func (o *Ollama) environment(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + o.dir,
		"OLLAMA_MODELS=" + filepath.Join(o.dir, "models"),
		"OLLAMA_NO_CLOUD=1",
		"OLLAMA_NUM_PARALLEL=1",
	}, more...)
}

func (o *Ollama) log() string { return filepath.Join(o.dir, "serve.log") }

// starts counts the servers of this process.
var starts atomic.Int64

// freeAddress is a loopback address that nothing listens on, below the ports
// that systems give to outgoing connections: it must still be free when a
// server that was down for a while comes back. Test processes run side by
// side, and so may tests, hence a different first try for each.
func freeAddress(t testing.TB) string {
	t.Helper()
	const lowest, count = 20000, 12000
	try := 64*os.Getpid() + int(starts.Add(1))
	for range count {
		address := fmt.Sprintf("127.0.0.1:%d", lowest+try%count)
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
		try++
	}
	t.Fatal("no free port on loopback")
	return ""
}

// tail is the last 4 KiB of a file.
func tail(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-4096):]
}
