package host_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// second starts the process that takes another's place: it calls itself two.
func second(t *testing.T, w *witness) (*host.BackendProcess, *life) {
	t.Helper()
	s := spec("good", w.path)
	s.Name, s.Version = "other", "2.0.0"
	p, err := host.StartBackend(t.Context(), s, core.Settings{URL: "version two"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	return p, w.next(t)
}

// swapped has p take the place of what runs, at once.
func swapped(t *testing.T, slot *host.Backend, p *host.BackendProcess) {
	t.Helper()
	began := time.Now()
	if !slot.Swap(p) {
		t.Fatal("the slot didn't take the process")
	}
	if took := time.Since(began); took > atOnce {
		t.Errorf("it took %v", took)
	}
	checkVersion(t, slot, "two")
}

func checkVersion(t *testing.T, slot *host.Backend, want string) {
	t.Helper()
	if got, err := slot.Probe(t.Context()); got != want || err != nil {
		t.Errorf("Probe: %q, %v, want %q", got, err, want)
	}
}

// checkSwapped wants the status of the second process.
func checkSwapped(t *testing.T, slot *host.Backend, restarts int) {
	t.Helper()
	want := core.PluginStatus{
		Name: "other", Kind: "backend", State: core.PluginRunning, Version: "2.0.0", Protocol: 1, Restarts: restarts,
	}
	if got := slot.Status(); got != want {
		t.Errorf("status is %+v, want %+v", got, want)
	}
}

func TestSwapTakesEffectAtOnceAndForGood(t *testing.T) {
	w := newWitness(t)
	restarts := make(chan core.PluginStatus, 10)
	slot := host.NewBackend(spec("good", w.path), core.Settings{}, func(st core.PluginStatus) { restarts <- st }, silent)
	stop := keep(t, slot)
	receive(t, slot.Up())
	first := w.next(t)
	checkVersion(t, slot, "1.2.3")

	p, life := second(t, w)
	swapped(t, slot, p)
	receive(t, slot.Up())
	first.ends(t, atOnce)
	checkSwapped(t, slot, 0)
	if len(restarts) > 0 {
		t.Errorf("the swap was told as a restart: %+v", <-restarts)
	}

	life.signal(t, syscall.SIGKILL)
	receive(t, restarts)
	checkVersion(t, slot, "two")
	checkSwapped(t, slot, 1)
	stop()
	w.next(t).ends(t, atOnce)
	w.nothingNew(t)
}

func TestSwapLetsACallFinish(t *testing.T) {
	w := newWitness(t)
	slot, _ := runSlot(t, spec("good", w.path), "wait", io.Discard)
	receive(t, slot.Up())
	first := w.next(t)
	answered := make(chan error, 1)
	go func() {
		version, err := slot.Probe(t.Context())
		if version != "1.2.3" {
			err = errors.Join(err, errors.New("the answer is "+version))
		}
		answered <- err
	}()
	call := w.next(t)
	p, _ := second(t, w)
	swapped(t, slot, p)
	if !first.alive() {
		t.Error("the former process was stopped under a call")
	}
	call.release()
	if err := receive(t, answered); err != nil {
		t.Errorf("the call that was under way: %v", err)
	}
	first.ends(t, atOnce)
}

// A call that doesn't end holds up neither the swap nor, for more than a
// moment, the slot's end.
func TestSwapWaitsFiveSecondsForACall(t *testing.T) {
	for name, shutdown := range map[string]bool{"at most": false, "but not at shutdown": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWitness(t)
			slot, stop := runSlot(t, spec("good", w.path), "wait", io.Discard)
			receive(t, slot.Up())
			first := w.next(t)
			answered := make(chan error, 1)
			go func() {
				_, err := slot.Probe(t.Context())
				answered <- err
			}()
			w.next(t)
			p, life := second(t, w)
			began := time.Now()
			swapped(t, slot, p)
			least, most := 5*time.Second, 7*time.Second
			if shutdown {
				stop()
				life.ends(t, atOnce)
				least, most = 0, 3*time.Second
			}
			if err := receive(t, answered); err == nil {
				t.Error("the call had an answer that nobody gave")
			}
			first.ends(t, 2*time.Second)
			if took := time.Since(began); took < least || took > most {
				t.Errorf("the former process ended after %v", took)
			}
		})
	}
}

func TestSwapEndsTheWaitForARestart(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	restarts := make(chan core.PluginStatus, 10)
	slot := host.NewBackend(spec("crash", w.path), core.Settings{}, func(st core.PluginStatus) { restarts <- st }, silent)
	keep(t, slot)
	for range 5 { // the pause is 400 ms at least by now
		w.next(t).ends(t, patience)
	}
	p, life := second(t, w)
	swapped(t, slot, p)
	receive(t, slot.Up())
	checkSwapped(t, slot, 4)
	if len(restarts) > 0 {
		t.Errorf("the swap was told as a restart: %+v", <-restarts)
	}

	<-time.After(1300 * time.Millisecond) // the pause would be over by now
	w.nothingNew(t)

	// The pauses begin anew.
	life.signal(t, syscall.SIGKILL)
	began := time.Now()
	if next := w.next(t); next.name != "good" || time.Since(began) > 300*time.Millisecond {
		t.Errorf("%s was started after %v", next.name, time.Since(began))
	}
	receive(t, slot.Up())
	checkSwapped(t, slot, 5)
}

func TestSwapEndsAStartThatHangs(t *testing.T) {
	w := newWitness(t)
	slot, _ := runSlot(t, spec("silent", w.path), "", io.Discard)
	first := w.next(t)
	p, _ := second(t, w)
	swapped(t, slot, p)
	receive(t, slot.Tried())
	first.ends(t, atOnce)
	checkSwapped(t, slot, 0)
}

func TestSwapOfAHungProcess(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	slot, _ := runSlot(t, spec("good", w.path), "", io.Discard)
	receive(t, slot.Up())
	first := w.next(t)
	first.signal(t, syscall.SIGSTOP)
	p, _ := second(t, w)
	swapped(t, slot, p)
	first.ends(t, 3*time.Second)
	checkSwapped(t, slot, 0)
}

func TestSwapThatNobodyTakesLeavesNoProcess(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	idle := host.NewBackend(spec("good", w.path), core.Settings{}, nil, silent)
	p, life := second(t, w)
	if idle.Swap(p) {
		t.Error("a slot that doesn't run took a process")
	}
	life.ends(t, atOnce)

	ended := host.NewBackend(spec("good", w.path), core.Settings{}, nil, silent)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ended.Run(ctx); err != nil {
		t.Fatal(err)
	}
	p, life = second(t, w)
	began := time.Now()
	if ended.Swap(p) {
		t.Error("a slot that has ended took a process")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	life.ends(t, atOnce)
}

func TestSwapsCutNoCall(t *testing.T) {
	w := newWitness(t)
	slot, stop := runSlot(t, spec("good", w.path), "version two", io.Discard)
	receive(t, slot.Up())
	lives := []*life{w.next(t)}
	over := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if version, err := slot.Probe(t.Context()); version != "two" || err != nil {
					t.Errorf("Probe: %q, %v", version, err)
					return
				}
			}
		})
	}
	for range 20 {
		p, life := second(t, w)
		lives = append(lives, life)
		swapped(t, slot, p)
	}
	close(over)
	callers.Wait()
	stop()
	for _, life := range lives {
		life.ends(t, atOnce)
	}
	w.nothingNew(t)
}
