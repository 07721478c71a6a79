//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

func TestE2EOllamaKilled(t *testing.T) {
	o, f := bringUp(t)
	c := callAllTheTime(t, f)
	o.Kill()
	mustDegrade(t, f, "refused")
	o.Restart()
	mustRecover(t, f)
	c.mustHaveBeenServed()
}

// TestE2EOllamaFrozen is a laptop that went to sleep, as far as a process can
// play that: it accepts connections and never answers.
func TestE2EOllamaFrozen(t *testing.T) {
	o, f := bringUp(t)
	c := callAllTheTime(t, f)
	o.Pause()
	mustDegrade(t, f, "timeout")
	o.Resume()
	mustRecover(t, f)
	c.mustHaveBeenServed()
}

func TestE2EOllamaKilledWithDefaultTimes(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	f := serveFor(t, testkit.Settings{Target: o.URL})
	c := callAllTheTime(t, f)
	o.Kill()
	getFresh(t, f, "/api/tags") // the next poll may be half a minute away
	mustDegrade(t, f, "refused")
	o.Restart()
	mustRecover(t, f)
	c.mustHaveBeenServed()
}

func TestE2EPluginKilled(t *testing.T) {
	_, f := bringUp(t)
	c := callAllTheTime(t, f)
	killed := f.PluginPid()
	signalPlugin(t, f, syscall.SIGKILL)
	took := awaitHealth(t, f, soon, replaced)
	t.Logf("healthy with another plugin after %v", took)
	if took > 2*time.Second {
		t.Errorf("that is more than two seconds")
	}
	testkit.Await(t, soon, "the log tells the new plugin's pid", func() error {
		if f.PluginPid() == killed {
			return errors.New("it tells the old one's")
		}
		return nil
	})
	if c.mustHaveBeenServed() {
		t.Error("the plugin's end was taken for the target's")
	}
}

func TestE2EPluginFrozen(t *testing.T) {
	_, f := bringUp(t)
	c := callAllTheTime(t, f)
	frozen := f.PluginPid()
	signalPlugin(t, f, syscall.SIGSTOP)
	t.Logf("healthy with another plugin after %v", awaitHealth(t, f, soon, replaced))
	if err := syscall.Kill(frozen, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the frozen plugin is still there: %v", err)
	}
	c.mustHaveBeenServed()
	f.Signal(syscall.SIGTERM)
	mustEndWell(t, f)
}

func signalPlugin(t *testing.T, f *testkit.Foreman, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(f.PluginPid(), sig); err != nil {
		t.Fatalf("%v to the plugin, pid %d: %v", sig, f.PluginPid(), err)
	}
}

func TestE2EDaemonKilled(t *testing.T) {
	o, f := bringUp(t)
	awaitSaved(t, f, "tiny:latest")
	before, err := f.Get("/api/tags")
	if err != nil {
		t.Fatal(err)
	}
	f.Signal(syscall.SIGKILL)
	if ended := f.AwaitEnd(time.Second, time.Second); ended.Signal() != syscall.SIGKILL {
		t.Errorf("the daemon ended by itself: %v", ended)
	}
	mustLeaveNoSocket(t, f)

	// The next one remembers while the target is away.
	o.Stop()
	f.Start()
	after, err := f.Get("/api/tags")
	if err != nil || after.Status != http.StatusOK || !bytes.Equal(before.Body, after.Body) {
		t.Fatalf("the list is lost: %d %s, %v", after.Status, after.Body, err)
	}
	if age, err := strconv.Atoi(after.Header.Get("Foreman-Inventory-Age")); err != nil || age > 60 {
		t.Errorf("the list's age is %q", after.Header.Get("Foreman-Inventory-Age"))
	}
	if h := f.Health(); !h.Inventory.Stale || h.Inventory.Models != len(testkit.Names) {
		t.Errorf("a list from before isn't stale: %+v", h)
	}
	c := callAllTheTime(t, f)
	mustDegrade(t, f, "refused")
	o.Restart()
	mustRecover(t, f)
	c.mustHaveBeenServed()
}

func TestE2ECorruptStateFile(t *testing.T) {
	o, f := bringUp(t)
	f.Signal(syscall.SIGTERM)
	mustEndWell(t, f)
	o.Stop()
	file := onlyFile(t, f.StateDir)
	if err := os.Truncate(file, 100); err != nil {
		t.Fatal(err)
	}

	f.Start()
	awaitHealth(t, f, soon, func(h testkit.Health) error {
		if h.Status != "degraded" || h.Inventory.Models != 0 || !h.Inventory.Stale {
			return fmt.Errorf("want it degraded with nothing known: %+v", h)
		}
		return nil
	})
	if aside := onlyFile(t, f.StateDir); aside != file+".corrupt" {
		t.Errorf("the file is set aside as %s", aside)
	}
	if !strings.Contains(f.Log(), "the saved inventory can't be used and is set aside") {
		t.Error("the log doesn't say so")
	}
	for _, route := range append([]string{"/readyz"}, listRoutes...) {
		answer, err := f.Get(route)
		if err != nil || answer.Status != http.StatusServiceUnavailable {
			t.Errorf("%s with nothing known: %d %s, %v", route, answer.Status, answer.Body, err)
		}
	}
	mustExit(t, f, exitCantTell, "inventory")
	mustExit(t, f, exitCantTell, "validate", "tiny")

	o.Restart()
	mustRecover(t, f)
	mustExit(t, f, exitYes, "validate", "tiny")
}

// saved reports whether the one file that foreman keeps, besides what isn't
// foreman's, is whole and has the model.
func saved(f *testkit.Foreman, model string) error {
	files, err := filepath.Glob(filepath.Join(f.StateDir, "inventory-*"))
	if err != nil || len(files) != 1 || filepath.Ext(files[0]) != ".json" {
		return fmt.Errorf("foreman's files: %q, %v; want one that is finished", files, err)
	}
	text, err := os.ReadFile(files[0])
	switch {
	case err != nil:
		return err
	case !json.Valid(text):
		return errors.New("the saved inventory is cut off")
	case !strings.Contains(string(text), strconv.Quote(model)):
		return fmt.Errorf("%s isn't saved", model)
	}
	return nil
}

// awaitSaved waits until the model is saved, which takes a moment after it is
// listed.
func awaitSaved(t *testing.T, f *testkit.Foreman, model string) {
	t.Helper()
	testkit.Await(t, soon, "the inventory is saved", func() error { return saved(f, model) })
}

// onlyFile is the one that holds an inventory.
func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "inventory-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("inventories in %s: %q, %v; want one", dir, files, err)
	}
	return files[0]
}
