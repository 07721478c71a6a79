package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// TestMain lets the test binary be foreman: under that name in the scripts'
// PATH, and as its own plugin.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"foreman": main})
}

type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// patience bounds every wait of a script for something that must happen.
const patience = 20 * time.Second

// TestScripts runs the commands as a shell would. Each script has a simulated
// Ollama, which is off at first, and a daemon of its own:
//
//	sim start|stop|hang|heal, sim status CODE, sim install|load|pin MODEL
//	sim asked PATH       wait until somebody has asked for PATH
//	serve [FLAG…]        start the daemon and wait for its first look
//	daemon says REGEXP   wait for a line of its log, after the last that was waited for
//	daemon stop|kill|freeze
//	await FILE REGEXP    wait until the file has such a line
//
// Without a foreman.toml of its own a script gets one that polls fast.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "../../testdata/script",
		Setup: setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sim":    simCommand,
			"serve":  serveCommand,
			"daemon": daemonCommand,
			"await":  awaitCommand,
		},
	})
}

const fastConfig = `
[poll]
interval = "1s"
timeout = "300ms"
fast_interval = "100ms"
down_interval = "100ms"
`

// world is what a script can act upon.
type world struct {
	simAddr    string
	sim        *sim.Server // nil while it is off
	daemonAddr string
	daemon     *process // nil until started
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func setUp(script *testscript.Env) error {
	w := &world{}
	var err error
	if w.simAddr, err = freeAddr(); err != nil {
		return err
	}
	if w.daemonAddr, err = freeAddr(); err != nil {
		return err
	}
	script.Values[worldKey{}] = w
	script.Defer(func() {
		if w.sim != nil {
			_ = w.sim.Close()
		}
		if err := w.daemon.end(); err != nil {
			script.T().Fatal(err)
		}
	})
	for name, value := range map[string]string{
		"HOME": filepath.Join(script.WorkDir, "home"), "TZ": "UTC", "TERM": "xterm",
		"GORACE":      "atexit_sleep_ms=0", // else the race detector adds a second to each command
		"OLLAMA_HOST": w.simAddr, "FOREMAN_LISTEN": w.daemonAddr,
	} {
		script.Setenv(name, value)
	}
	config := filepath.Join(script.WorkDir, "foreman.toml")
	if _, err := os.Stat(config); err == nil {
		return nil
	}
	return os.WriteFile(config, []byte(fastConfig), 0o600)
}

// lastPort counts up from a place below the ports that systems hand out, so
// that nobody gets one of a script's while the script leaves it closed.
var lastPort atomic.Int32

func init() { lastPort.Store(int32(16_000 + os.Getpid()*7919%150*100)) }

// freeAddr is a loopback address that nobody listens on.
func freeAddr() (string, error) {
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", lastPort.Add(1))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

func simCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: sim start|stop|hang|heal|status|install|load|pin|asked")
	}
	arg := ""
	if len(args) == 2 {
		arg = args[1]
	}
	if unquoted, err := strconv.Unquote(arg); err == nil {
		arg = unquoted
	}
	switch args[0] {
	case "start":
		server, err := sim.Start(w.simAddr, sim.Options{Instant: true})
		for range 20 { // somebody else may be trying the port for a moment
			if !errors.Is(err, syscall.EADDRINUSE) {
				break
			}
			time.Sleep(50 * time.Millisecond)
			server, err = sim.Start(w.simAddr, sim.Options{Instant: true})
		}
		ts.Check(err)
		w.sim = server
	case "stop":
		ts.Check(w.sim.Close())
		w.sim = nil
	case "hang":
		w.sim.Fail("*", sim.Hang())
	case "status":
		code, err := strconv.Atoi(arg)
		ts.Check(err)
		w.sim.Fail("*", sim.Status(code, ""))
	case "heal":
		w.sim.Heal()
	case "install":
		w.sim.Install(sim.Model{Name: arg, Size: 1_000_000})
	case "load":
		w.sim.Load(arg)
	case "pin":
		w.sim.Pin(arg)
	case "asked":
		w.awaitRequest(ts, arg)
	default:
		ts.Fatalf("unknown: sim %s", args[0])
	}
}

// awaitRequest returns once the simulated Ollama has answered path.
func (w *world) awaitRequest(ts *testscript.TestScript, path string) {
	asked := make(chan struct{})
	server := w.sim
	server.FailNext(path, 1, func(rw http.ResponseWriter, r *http.Request) {
		server.Handler().ServeHTTP(rw, r)
		close(asked) // last, or the next to wait would catch the line above
	})
	select {
	case <-asked:
	case <-time.After(patience):
		ts.Fatalf("nobody asked for %s", path)
	}
}

func serveCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || w.daemon != nil {
		ts.Fatalf("serve starts a daemon once")
	}
	var err error
	w.daemon, err = startDaemon(ts, args)
	ts.Check(err)
	if err := w.daemon.says("foreman serves"); err != nil {
		ts.Fatalf("%v", err)
	}
	// A first look may be under way: the answer waits for it.
	resp, err := http.Get("http://" + w.daemonAddr + "/api/tags")
	ts.Check(err)
	ts.Check(resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
}

func daemonCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	switch command := strings.Join(args[:min(1, len(args))], ""); {
	case neg || w.daemon == nil:
		ts.Fatalf("there is no daemon, or ! before daemon")
	case command == "says" && len(args) == 2:
		ts.Check(w.daemon.says(args[1]))
	case command == "stop":
		ts.Check(w.daemon.end())
		w.daemon = nil
	case command == "kill":
		ts.Check(w.daemon.cmd.Process.Kill())
		<-w.daemon.ended
		w.daemon = nil
	case command == "freeze":
		ts.Check(w.daemon.cmd.Process.Signal(syscall.SIGSTOP))
		w.daemon.frozen = true
	default:
		ts.Fatalf("usage: daemon says REGEXP, or daemon stop|kill|freeze")
	}
}

// awaitCommand is for what a command in the background writes.
func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(patience); ; {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && want.Match(text) {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			ts.Fatalf("no %q in %s: %s, %v", args[1], args[0], text, err)
		}
	}
}

// process is a daemon that was started.
type process struct {
	cmd    *exec.Cmd
	frozen bool
	ended  chan struct{} // closed once it has been reaped; then its log is whole

	mu    sync.Mutex
	log   strings.Builder
	heard int           // bytes of log that says has gone through
	wrote chan struct{} // closed at the next line
}

func startDaemon(ts *testscript.TestScript, args []string) (*process, error) {
	path, err := exec.LookPath("foreman")
	if err != nil {
		return nil, err
	}
	p := &process{
		cmd:   exec.Command(path, append([]string{"serve"}, args...)...),
		ended: make(chan struct{}),
		wrote: make(chan struct{}),
	}
	p.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "OLLAMA_HOST", "FOREMAN_LISTEN", "FOREMAN_CONFIG", "TOKEN", "GORACE"} {
		p.cmd.Env = append(p.cmd.Env, name+"="+ts.Getenv(name))
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.add(lines.Text())
		}
		_ = p.cmd.Wait() // how it ended is in its state
		close(p.ended)
	}()
	return p, nil
}

func (p *process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.WriteString(line + "\n")
	close(p.wrote)
	p.wrote = make(chan struct{})
}

// says waits for a line of the log that matches, and goes on from there when
// it is called again.
func (p *process) says(pattern string) error {
	want, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		p.mu.Lock()
		log, wrote := p.log.String(), p.wrote
		at := want.FindStringIndex(log[p.heard:])
		if at != nil {
			p.heard += at[1]
		}
		p.mu.Unlock()
		if at != nil {
			return nil
		}
		select {
		case <-wrote:
		case <-p.ended:
			return fmt.Errorf("the daemon has ended (%v) without %q:\n%s", p.cmd.ProcessState, pattern, log)
		case <-ctx.Done():
			return fmt.Errorf("the daemon didn't say %q:\n%s", pattern, log)
		}
	}
}

// end stops the daemon as an init system does, which has to go well.
func (p *process) end() error {
	if p == nil {
		return nil
	}
	signal, want := syscall.SIGTERM, "exit status 0"
	if p.frozen {
		signal, want = syscall.SIGKILL, "signal: killed"
	}
	_ = p.cmd.Process.Signal(signal)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if state := p.cmd.ProcessState.String(); state != want {
		return fmt.Errorf("the daemon ended with %s, not %s:\n%s", state, want, p.log.String())
	}
	return nil
}
