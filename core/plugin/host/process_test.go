package host_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

var silent = slog.New(slog.DiscardHandler)

// started is a running plugin, stopped when the test is over.
func started(t *testing.T, behaviour, task string, log *slog.Logger) (*host.BackendProcess, *life, *witness) {
	t.Helper()
	w := newWitness(t)
	p, err := host.StartBackend(t.Context(), spec(behaviour, w.path), core.Settings{URL: task}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p, w.next(t), w
}

func TestStartedPluginAnswersUntilStopped(t *testing.T) {
	for _, behaviour := range []string{"good", "foreign"} {
		t.Run(behaviour, func(t *testing.T) {
			p, life, _ := started(t, behaviour, "", silent)
			if p.Upstream.URL != "http://upstream" {
				t.Errorf("upstream is %q", p.Upstream.URL)
			}
			if version, err := p.Probe(t.Context()); version != "1.2.3" || err != nil {
				t.Errorf("Probe: %q, %v", version, err)
			}
			if err := p.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
			began := time.Now()
			p.Stop()
			if took := time.Since(began); took > 900*time.Millisecond {
				t.Errorf("stopping took %v: it was killed", took)
			}
			life.ends(t, atOnce)
		})
	}
}

func TestFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	const noHandshake = "start plugin fake: it didn't print the plugin handshake on stdout: is it a foreman plugin, for this machine?"
	for _, c := range []struct{ behaviour, want string }{
		{"crash", noHandshake + "; it wrote: line 4 | line 5 | line 6 | line 7 | the disk is [31m on fire"},
		{"junk", noHandshake},
		{"verbose", noHandshake + "; it wrote: it began with " + strings.Repeat("ä", 243) + "…"},
		{"endless line", noHandshake},
		{"other cookie", noHandshake + "; it wrote: This binary is a plugin."},
		{"next version", "start plugin fake: it speaks another version of the plugin contract than this foreman (1): rebuild it"},
		{"next core", "start plugin fake: incompatible core API version with plugin. Plugin version: 2, Core version: 1"},
		{"net/rpc", `start plugin fake: unsupported plugin protocol "netrpc"`},
		{"tcp", "start plugin fake: it listens on tcp, not on a unix socket"},
		{"certificate", "start plugin fake: its handshake makes no sense"},
		{"no socket", "plugin fake: configure: connection error"},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			w := newWitness(t)
			p, err := host.StartBackend(t.Context(), spec(c.behaviour, w.path), core.Settings{}, silent)
			if err == nil {
				p.Stop()
				t.Fatal("it started")
			}
			if text := err.Error(); !strings.HasPrefix(text, c.want) || strings.Contains(text, "\n") || len(text) > 1000 {
				t.Errorf("got  %s\nwant %s…", text, c.want)
			}
			w.next(t).ends(t, atOnce)
		})
	}
}

func TestFileThatCannotRunIsNamed(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for path, want := range map[string]string{
		missing: missing + ": no such file or directory",
		text:    text + ": permission denied",
		program: program + ": exec format error",
		dir:     dir + ": permission denied",
	} {
		_, err := host.StartBackend(t.Context(), host.Spec{Kind: plugin.KindBackend, Name: "x", Path: path}, core.Settings{}, silent)
		if want = "start plugin x: " + want; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestChecksumIsTakenOfTheFileAtEachStart(t *testing.T) {
	w := newWitness(t)
	s := throughScript(t, spec("good", w.path))
	script, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(script)
	s.SHA256 = hex.EncodeToString(sum[:])
	refused := func(want string) {
		t.Helper()
		_, err := host.StartBackend(t.Context(), s, core.Settings{}, silent)
		if want = "start plugin fake: " + want; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for range 2 {
		p, err := host.StartBackend(t.Context(), s, core.Settings{}, silent)
		if err != nil {
			t.Fatal(err)
		}
		p.Stop()
		w.next(t).ends(t, atOnce)
	}
	if err := os.WriteFile(s.Path, append(script, '#'), 0o755); err != nil {
		t.Fatal(err)
	}
	refused("its sha256 isn't the one in the config: it was changed since")
	s.SHA256 = "c0ffee"
	refused(`sha256 "c0ffee" is not 64 hexadecimal digits`)
	s.SHA256, s.Path = hex.EncodeToString(sum[:]), s.Path+"2"
	refused("open " + s.Path + ": no such file or directory")
	w.nothingNew(t)
}

// throughScript is s by way of an executable that the test may change.
func throughScript(t *testing.T, s host.Spec) host.Spec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	script := "#!/bin/sh\nexec " + s.Path + ` "$@"` + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Path = path
	return s
}

func TestRefusedSettingsAreTheUsersToMend(t *testing.T) {
	w := newWitness(t)
	_, err := host.StartBackend(t.Context(), spec("good", w.path), core.Settings{URL: "refuse"}, silent)
	if want := "plugin fake: url: want http:// in front"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	w.next(t).ends(t, atOnce)
}

// These take as long as a start may, so they share the time.
func TestSilentStartEndsAfterFiveSeconds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ behaviour, task, want string }{
		{"silent", "", "start plugin fake: it wasn't ready within 5s"},
		{"good", "hang", "plugin fake: configure: the plugin didn't answer in time"},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			t.Parallel()
			w := newWitness(t)
			began := time.Now()
			_, err := host.StartBackend(context.Background(), spec(c.behaviour, w.path), core.Settings{URL: c.task}, silent)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if took := time.Since(began); took > 7*time.Second {
				t.Errorf("it took %v", took)
			}
			w.next(t).ends(t, atOnce)
		})
	}
}

func TestEndOfContextEndsAHangingStart(t *testing.T) {
	for _, c := range []struct{ behaviour, task string }{{"silent", ""}, {"deaf", ""}, {"good", "hang"}} {
		t.Run(c.behaviour, func(t *testing.T) {
			w := newWitness(t)
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := host.StartBackend(ctx, spec(c.behaviour, w.path), core.Settings{URL: c.task}, silent)
				failed <- err
			}()
			life := w.next(t)
			if c.behaviour == "deaf" {
				w.next(t)
			}
			cancel()
			life.ends(t, 1500*time.Millisecond)
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want a cancellation", err)
			}
		})
	}
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	for _, behaviour := range []string{"stubborn", "good"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			p, life, _ := started(t, behaviour, "", silent)
			if behaviour == "good" {
				life.signal(t, syscall.SIGSTOP)
			}
			began := time.Now()
			p.Stop()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			life.ends(t, atOnce)
		})
	}
}

func TestPluginTakesItsChildrenAlong(t *testing.T) {
	for _, end := range []string{"stop", "kill"} {
		t.Run(end, func(t *testing.T) {
			p, plugin, w := started(t, "parent", "", silent)
			child := w.next(t)
			if end == "stop" {
				p.Stop()
			} else {
				plugin.signal(t, syscall.SIGKILL)
			}
			child.ends(t, time.Second)
		})
	}
}

// A child in a session of its own lives on, and holds the outputs.
func TestEscapedChildHoldsNothingUp(t *testing.T) {
	p, plugin, w := started(t, "escaped parent", "", silent)
	child := w.next(t)
	began := time.Now()
	p.Stop()
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("stopping took %v", took)
	}
	plugin.ends(t, atOnce)
	if !child.alive() {
		t.Error("the child was killed: the test shows nothing")
	}
}

func TestPluginSeesNeitherOurSecretsNorOurInput(t *testing.T) {
	t.Setenv("FOREMAN_TEST_TOKEN", "hunter2")
	stdin, keyboard, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	io.WriteString(keyboard, "hunter2")
	keyboard.Close()
	defer func(was *os.File) { os.Stdin = was }(os.Stdin)
	os.Stdin = stdin

	for _, task := range []string{"environment", "stdin"} {
		p, _, _ := started(t, "good", task, silent)
		sees, err := p.Probe(t.Context())
		if err != nil || strings.Contains(sees, "hunter2") {
			t.Errorf("%s: it sees %q, %v", task, sees, err)
		}
		if task == "environment" && !strings.Contains(sees, "PATH=") {
			t.Errorf("it has no PATH: %q", sees)
		}
	}
}

func TestThirtyMegabytesArrive(t *testing.T) {
	t.Parallel()
	p, _, _ := started(t, "good", "big", silent)
	list, err := p.Models(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, m := range list.Models {
		size += len(m.Raw)
	}
	if size < 30<<20 {
		t.Errorf("got %d bytes", size)
	}
}

func TestRunsLeakNoDescriptor(t *testing.T) {
	run := func(behaviour string) {
		w := newWitness(t)
		p, err := host.StartBackend(t.Context(), spec(behaviour, w.path), core.Settings{}, silent)
		if err == nil {
			p.Stop()
		}
		w.next(t).ends(t, atOnce)
		w.close()
	}
	descriptors := func() int {
		entries, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	run("good") // opens what stays open, such as the poller's
	before := descriptors()
	for _, behaviour := range []string{"good", "crash", "certificate", "good"} {
		run(behaviour)
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors more than before", after-before)
	}
}
