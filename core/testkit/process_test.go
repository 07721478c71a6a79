//go:build unix

package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// parentEnv makes the test binary the parent of a child that it never ends.
const parentEnv = "TESTKIT_PARENT_LOG"

func TestMain(m *testing.M) {
	if log := os.Getenv(parentEnv); log != "" {
		if _, err := startProcess(exec.Command("sleep", "300"), log); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("started")
		select {}
	}
	goleak.VerifyTestMain(m)
}

func TestKillTakesGrandchildren(t *testing.T) {
	alive := NewWitness(t)
	cmd := exec.Command("sh", "-c", "sleep 300 & echo >&4; wait")
	cmd.ExtraFiles = alive.ExtraFiles()
	p, err := startProcess(cmd, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alive.reader.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.kill()
	mustEnd(t, alive)
}

func TestChildEndsWithAKilledParent(t *testing.T) {
	alive := NewWitness(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+filepath.Join(t.TempDir(), "log"))
	parent.ExtraFiles = alive.ExtraFiles() // and from it the child's
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the parent doesn't start: %v", err)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait() // killed, as it says
	mustEnd(t, alive)
}

func mustEnd(t *testing.T, alive *Witness) {
	t.Helper()
	if err := alive.AwaitGone(20 * time.Second); err != nil {
		t.Errorf("a process outlives what started it: %v", err)
	}
}
