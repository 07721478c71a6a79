package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

// insideEnv is set in a test process with a network of its own.
const insideEnv = "FOREMAN_E2E_INSIDE"

// inside runs the calling test once more, in a process that is root over a
// network and mounts of its own, which go when it ends. There inside returns
// true, and false outside once that is over.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		mustRun(t, "ip", "link", "set", "lo", "up")
		return true
	}
	ollamaBin(t)
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs iproute2 and util-linux: %v", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), insideEnv+"=1", "FOREMAN_BIN="+testkit.BuildForeman(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Skipf("this system gives a test no network of its own: %v", err)
	}
	err = cmd.Wait()
	t.Logf("inside:\n%s", said.Bytes())
	switch {
	case err != nil:
		t.Error(err)
	case bytes.Contains(said.Bytes(), []byte("--- SKIP")):
		t.SkipNow()
	}
	return false
}

func mustRun(t *testing.T, line ...string) {
	t.Helper()
	if said, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", line, err, said)
	}
}

// farAddress is the address of the other network.
const farAddress = "169.254.77.2"

// newNetwork makes a second network, and a cable to it: its ends are called
// near and far. It returns the command line that enters it.
func newNetwork(t *testing.T) (enter []string) {
	t.Helper()
	holder := exec.Command("cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := holder.StdinPipe() // it ends with us
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Skipf("this system gives a process no network of its own: %v", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = holder.Wait()
	})
	pid := strconv.Itoa(holder.Process.Pid)
	enter = []string{"nsenter", "-t", pid, "-n", "--"}
	if said, err := exec.Command("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", pid).CombinedOutput(); err != nil {
		t.Skipf("this system has no veth: %v\n%s", err, said)
	}
	mustRun(t, "ip", "address", "add", "169.254.77.1/30", "dev", "near")
	mustRun(t, "ip", "link", "set", "near", "up")
	mustRun(t, append(enter, "ip", "address", "add", farAddress+"/30", "dev", "far")...)
	mustRun(t, append(enter, "ip", "link", "set", "far", "up")...)
	mustRun(t, append(enter, "ip", "link", "set", "lo", "up")...)
	return enter
}

// TestE2ELinkDown is a laptop that leaves the network.
func TestE2ELinkDown(t *testing.T) {
	if !inside(t) {
		return
	}
	enter := newNetwork(t)
	o := testkit.StartOllamaOn(t, ollamaBin(t), farAddress+":11434", enter...)
	f := serveFor(t, testkit.Settings{Target: o.URL, Poll: fastPoll})
	for _, end := range []struct {
		name    string
		link    []string // the command line that takes it up and down
		reasons []string
	}{
		{"near", []string{"ip", "link", "set", "near"}, []string{"no_route"}},
		// Packets vanish, until the kernel gives the neighbour up.
		{"far", append(enter, "ip", "link", "set", "far"), []string{"timeout", "no_route"}},
	} {
		t.Run(end.name, func(t *testing.T) {
			c := callAllTheTime(t, f)
			mustRun(t, append(end.link, "down")...)
			mustDegrade(t, f, end.reasons...)
			mustRun(t, append(end.link, "up")...)
			testkit.Await(t, soon, "the target is reachable", func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				_, err := testkit.Get(ctx, o.URL+"/api/version")
				return err
			})
			mustRecover(t, f)
			c.mustHaveBeenServed()
		})
	}
}

// TestE2ELinkDownInMidStream has packets vanish, as no relay can.
func TestE2ELinkDownInMidStream(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		return
	}
	enter := newNetwork(t)
	o := testkit.StartOllamaOn(t, ollamaBin(t), farAddress+":11434", enter...)
	f := serveFor(t, testkit.Settings{Target: o.URL})
	s := begin(t, f.URL, "/api/generate", endless)
	mustRun(t, append(enter, "ip", "link", "set", "far", "down")...)
	s.mustBreak(noticed)
	p := send(t, f.URL+"/api/generate", short, "")
	if !p.waits() {
		t.Error("the request isn't held")
	}
	mustRun(t, append(enter, "ip", "link", "set", "far", "up")...)
	p.mustAnswer(soon, http.StatusOK)
}

func TestE2EDiskFull(t *testing.T) {
	if !inside(t) {
		return
	}
	o := testkit.StartOllama(t, ollamaBin(t))
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: o.URL, Poll: fastPoll})
	if err := os.Mkdir(f.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", f.StateDir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("this system mounts no small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(f.StateDir, syscall.MNT_DETACH) })
	f.Start()
	awaitHealth(t, f, soon, healthy)
	awaitSaved(t, f, "tiny:latest")

	ballast := filepath.Join(f.StateDir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk isn't full: %v", err)
	}
	o.Create("unsaved")
	mustExit(t, f, exitYes, "validate", "unsaved")
	testkit.Await(t, soon, "a warning", func() error {
		if n := strings.Count(f.Log(), "the inventory can't be saved"); n != 1 {
			return fmt.Errorf("%d warnings in the log", n)
		}
		return nil
	})
	if err := saved(f, "tiny:latest"); err != nil {
		t.Errorf("with a full disk: %v", err)
	}
	awaitHealth(t, f, soon, healthy)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	o.Create("saved")
	mustExit(t, f, exitYes, "validate", "saved")
	awaitSaved(t, f, "saved:latest")
	f.Signal(syscall.SIGTERM)
	mustEndWell(t, f)
}
