package host_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// runSlot runs a slot until the test is over or stop is called.
func runSlot(t *testing.T, s host.Spec, task string, log io.Writer) (slot *host.Backend, stop func()) {
	t.Helper()
	slot = host.NewBackend(s, core.Settings{URL: task}, nil, slog.New(slog.NewTextHandler(log, nil)))
	return slot, keep(t, slot)
}

// keep runs what is in a slot until the test is over or stop is called.
func keep(t *testing.T, slot interface{ Run(context.Context) error }) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := slot.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = func() {
		t.Helper()
		cancel()
		receive(t, done)
	}
	t.Cleanup(stop)
	return stop
}

// receive waits for something to happen.
func receive[T any](t *testing.T, c <-chan T) (received T) {
	t.Helper()
	select {
	case received = <-c:
	case <-time.After(patience):
		t.Fatal("it didn't happen")
	}
	return received
}

func checkStatus(t *testing.T, slot *host.Backend, want core.PluginStatus) {
	t.Helper()
	want.Name, want.Kind = "fake", "backend"
	if diff := cmp.Diff(want, slot.Status()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// checkUnavailable wants every method to fail at once.
func checkUnavailable(t *testing.T, slot *host.Backend) {
	t.Helper()
	_, probe := slot.Probe(t.Context())
	_, models := slot.Models(t.Context(), "")
	_, running := slot.Running(t.Context())
	_, upstream := slot.Upstream()
	for _, err := range []error{probe, models, running, upstream} {
		if !errors.Is(err, core.ErrUnavailable) {
			t.Errorf("got %v, want that the plugin isn't there", err)
		}
	}
}

func TestSlotAnswersWhileItsPluginRuns(t *testing.T) {
	w := newWitness(t)
	idle := host.NewBackend(spec("good", w.path), core.Settings{}, nil, silent)
	checkUnavailable(t, idle)
	checkStatus(t, idle, core.PluginStatus{State: core.PluginStarting})

	slot, stop := runSlot(t, spec("good", w.path), "", io.Discard)
	receive(t, slot.Tried())
	receive(t, slot.Up())
	checkStatus(t, slot, core.PluginStatus{State: core.PluginRunning, Protocol: 1})
	if up, err := slot.Upstream(); up.URL != "http://upstream" || err != nil {
		t.Errorf("Upstream: %v, %v", up, err)
	}
	if version, err := slot.Probe(t.Context()); version != "1.2.3" || err != nil {
		t.Errorf("Probe: %q, %v", version, err)
	}
	if list, err := slot.Models(t.Context(), ""); len(list.Models) != 1 || err != nil {
		t.Errorf("Models: %v, %v", list, err)
	}
	var fault *core.Fault
	if _, err := slot.Running(t.Context()); !errors.As(err, &fault) || *fault != (core.Fault{Reason: core.ReasonRefused, Detail: "the target is asleep"}) {
		t.Errorf("Running: %v, want the plugin's fault", err)
	}

	stop()
	w.next(t).ends(t, atOnce)
	w.nothingNew(t)
	checkUnavailable(t, slot)
	checkStatus(t, slot, core.PluginStatus{State: core.PluginStopped, Protocol: 1})
}

func TestKilledPluginIsBackAtOnce(t *testing.T) {
	for _, behaviour := range []string{"good", "parent"} { // one with a child that holds its outputs
		t.Run(behaviour, func(t *testing.T) {
			w := newWitness(t)
			slot, _ := runSlot(t, spec(behaviour, w.path), "", io.Discard)
			receive(t, slot.Up())
			first := w.next(t)
			if behaviour == "parent" {
				w.next(t)
			}
			began := time.Now()
			first.signal(t, syscall.SIGKILL)
			receive(t, slot.Up())
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v", took)
			}
			if second := w.next(t); second.pid == first.pid {
				t.Error("the same process")
			}
			checkStatus(t, slot, core.PluginStatus{State: core.PluginRunning, Protocol: 1, Restarts: 1})
			if _, err := slot.Probe(t.Context()); err != nil {
				t.Errorf("Probe: %v", err)
			}
		})
	}
}

func TestHungPluginIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	slot, _ := runSlot(t, spec("good", w.path), "", io.Discard)
	receive(t, slot.Up())
	first := w.next(t)
	first.signal(t, syscall.SIGSTOP)

	probe := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := slot.Probe(ctx)
		return err
	}
	err := probe()
	for err == nil { // its threads don't stop at the same moment
		err = probe()
	}
	if !errors.Is(err, core.ErrNoAnswer) {
		t.Errorf("got %v, want no answer", err)
	}
	first.ends(t, 2*time.Second)
	receive(t, slot.Up())
	checkStatus(t, slot, core.PluginStatus{State: core.PluginRunning, Protocol: 1, Restarts: 1})
}

// A plugin may be slow, and even miss a deadline, while it answers others.
func TestBusyPluginIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	slot, _ := runSlot(t, spec("good", w.path), "busy", io.Discard)
	receive(t, slot.Up())
	life := w.next(t)
	for range 3 { // the second is held until the first's ping is over
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := slot.Models(ctx, ""); !errors.Is(err, core.ErrNoAnswer) {
			t.Errorf("got %v, want no answer", err)
		}
	}
	if _, err := slot.Probe(t.Context()); err != nil || !life.alive() {
		t.Errorf("it was killed: %v", err)
	}
}

func TestPluginThatCannotStartIsTriedAgainWithPauses(t *testing.T) {
	w := newWitness(t)
	slot, _ := runSlot(t, spec("crash", w.path), "", io.Discard)
	receive(t, slot.Tried())
	checkUnavailable(t, slot)
	first := w.next(t)
	var last *life
	for range 4 {
		last = w.next(t)
	}
	// 50, 100, 200 and 400 ms, each at least half of that.
	if took := last.began.Sub(first.began); took < 375*time.Millisecond {
		t.Errorf("five starts within %v", took)
	}
	status := slot.Status()
	if status.Restarts < 4 || status.State == core.PluginRunning || !strings.Contains(status.Error, "on fire") {
		t.Errorf("status is %+v", status)
	}
}

func TestCrashIsToldWhileThePluginIsDown(t *testing.T) {
	w := newWitness(t)
	s := throughScript(t, spec("good", w.path))
	var log lockedBuffer
	slot, _ := runSlot(t, s, "", &log)
	receive(t, slot.Up())
	if err := os.Remove(s.Path); err != nil { // so that it stays down
		t.Fatal(err)
	}
	w.next(t).signal(t, syscall.SIGKILL)
	log.waitFor(t, `plugin=fake error="it exited: signal: killed"`)
	log.waitFor(t, `plugin=fake error="start plugin fake: `+s.Path+`: no such file or directory"`)
	checkUnavailable(t, slot)
	if status := slot.Status(); status.State == core.PluginRunning || status.Restarts < 1 || status.Error == "" {
		t.Errorf("status is %+v", status)
	}
}

func TestRestartIsToldWithItsCause(t *testing.T) {
	w := newWitness(t)
	s := throughScript(t, spec("good", w.path))
	s.Version = "1.0.0"
	restarts := make(chan core.PluginStatus, 10)
	var log lockedBuffer
	slot := host.NewBackend(s, core.Settings{}, func(st core.PluginStatus) { restarts <- st }, slog.New(slog.NewTextHandler(&log, nil)))
	keep(t, slot)
	receive(t, slot.Up())
	if len(restarts) > 0 {
		t.Errorf("the first start was told as a restart: %+v", <-restarts)
	}
	hidden := s.Path + ".hidden"
	if err := os.Rename(s.Path, hidden); err != nil {
		t.Fatal(err)
	}
	w.next(t).signal(t, syscall.SIGKILL)
	log.waitFor(t, "no such file")
	if err := os.Rename(hidden, s.Path); err != nil {
		t.Fatal(err)
	}
	got := receive(t, restarts)
	if got.Restarts < 2 {
		t.Errorf("after a start that failed it tells %d restarts", got.Restarts)
	}
	want := core.PluginStatus{
		Name: "fake", Kind: "backend", State: core.PluginRunning, Version: "1.0.0", Protocol: 1,
		Restarts: got.Restarts, Error: "it exited: signal: killed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if want.Error = ""; cmp.Diff(want, slot.Status()) != "" {
		t.Errorf("the status is %+v, want %+v", slot.Status(), want)
	}
}

func TestSlotStopsWhileItsPluginHangs(t *testing.T) {
	for _, c := range []struct{ behaviour, task string }{{"silent", ""}, {"good", "hang"}} {
		t.Run(c.behaviour, func(t *testing.T) {
			w := newWitness(t)
			_, stop := runSlot(t, spec(c.behaviour, w.path), c.task, io.Discard)
			life := w.next(t)
			began := time.Now()
			stop()
			if took := time.Since(began); took > 1500*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			life.ends(t, atOnce)
			w.nothingNew(t)
		})
	}
}

func TestPluginDoesNotOutliveAKilledHost(t *testing.T) {
	w := newWitness(t)
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := spec("host", w.path)
	foreman := exec.Command(s.Path, s.Args...)
	foreman.Env = append(os.Environ(), "TMPDIR="+dir)
	if err := foreman.Start(); err != nil {
		t.Fatal(err)
	}
	defer foreman.Wait()
	w.next(t)
	plugin := w.next(t)
	w.next(t) // it runs
	if err := foreman.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	plugin.ends(t, time.Second)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
