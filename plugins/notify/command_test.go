package notify

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// shell is a command notifier that runs a script with these arguments.
func shell(tb testing.TB, script string, args ...string) core.Notifier {
	tb.Helper()
	return configured(tb, "command", map[string]any{"argv": append([]string{"sh", "-c", script, "script"}, args...)})
}

func TestCommandGetsTheEvent(t *testing.T) {
	dir := t.TempDir()
	n := shell(t, `cat > "$1/stdin" && env > "$1/env" && echo "$2" > "$1/arg"`, dir, "$(id) a;b")
	t.Setenv("FOREMAN_SECRET", "s3cret")
	t.Setenv("TZ", "Europe/Berlin")
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(degradedJSON, readFile(t, dir, "stdin")); diff != "" {
		t.Errorf("stdin (-want +got):\n%s", diff)
	}
	if arg := readFile(t, dir, "arg"); arg != "$(id) a;b\n" {
		t.Errorf("the argument came as %q", arg)
	}
	env := readFile(t, dir, "env")
	for _, want := range []string{"FOREMAN_EVENT_TYPE=degraded\n", "FOREMAN_EVENT_ID=" + degraded.ID + "\n", "TZ=Europe/Berlin\n", "PATH="} {
		if !strings.Contains(env, want) {
			t.Errorf("the environment lacks %q:\n%s", want, env)
		}
	}
	if strings.Contains(env, "s3cret") {
		t.Errorf("the environment holds what isn't for it:\n%s", env)
	}
}

func TestCommandFails(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		argv []string
		want string
	}{
		{[]string{"sh", "-c", "exit 3"}, "sh: exit status 3"},
		{[]string{"sh", "-c", `echo first; printf 'the pager is\033[31m off\n\n' >&2; exit 1`}, "sh: exit status 1: the pager is [31m off"},
		{[]string{"sh", "-c", `yes '' | head -c 100000; yes x | tr -d '\n' | head -c 100000; exit 1`}, "sh: exit status 1: " + strings.Repeat("x", 300) + "…"},
		{[]string{"sh", "-c", "kill -9 $$"}, "sh: signal: killed"},
		{[]string{filepath.Join(dir, "absent")}, "fork/exec " + dir + "/absent: no such file or directory"},
		{[]string{plain}, "fork/exec " + plain + ": permission denied"},
		{[]string{"foreman-no-such-command"}, `exec: "foreman-no-such-command": executable file not found in $PATH`},
	} {
		n := configured(t, "command", map[string]any{"argv": tt.argv})
		err := n.Notify(t.Context(), degraded)
		if err == nil || err.Error() != tt.want || errors.Is(err, core.ErrUndeliverable) {
			t.Errorf("%q: %v, want %q", tt.argv, err, tt.want)
		}
	}
}

func TestTailIsBounded(t *testing.T) {
	var out tail
	for range 100 {
		for _, s := range []string{"a line\n", strings.Repeat("x", 3*maxOutput), "\nthe end\n"} {
			if n, err := out.Write([]byte(s)); n != len(s) || err != nil {
				t.Fatal(n, err)
			}
		}
	}
	if len(out) > maxOutput || out.lastLine() != ": the end" {
		t.Errorf("%d bytes are kept, the last line is %q", len(out), out.lastLine())
	}
}

// A script that is put in its place later is found.
func TestCommandComesLater(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	n := configured(t, "command", map[string]any{"argv": []string{"page-ops"}})
	if err := n.Notify(t.Context(), degraded); err == nil {
		t.Fatal("what isn't there was run")
	}
	if err := os.Symlink("/bin/true", filepath.Join(dir, "page-ops")); err != nil {
		t.Fatal(err)
	}
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Error(err)
	}
}

func TestCommandIsKilledWithItsChildren(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// Both processes hold the pipe: its end is the end of both.
	n := shell(t, `trap '' TERM; exec 3>"$1"; sleep 300 & echo started >&3; wait`, fifo)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		pipe, err := os.Open(fifo)
		if err != nil {
			ended <- err
			return
		}
		defer func() { _ = pipe.Close() }()
		lines := bufio.NewReader(pipe)
		if _, err := lines.ReadString('\n'); err != nil {
			ended <- err
			return
		}
		cancel()
		_, err = io.Copy(io.Discard, lines)
		ended <- err
	}()
	err := n.Notify(ctx, degraded)
	if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "sh didn't end in time and was killed") {
		t.Errorf("%v, want that it was killed", err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a child lives on")
	}
}

// A command may leave something behind that holds its output open.
func TestCommandLeavesAChild(t *testing.T) {
	dir := t.TempDir()
	n := shell(t, `sleep 300 & echo $! > "$1/pid"`, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.Notify(ctx, degraded); err != nil {
		t.Errorf("it exited with 0: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(readFile(t, dir, "pid")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the child didn't live on: %v", err)
	}
}

func readFile(tb testing.TB, dir, name string) string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}
