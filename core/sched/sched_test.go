package sched_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

func TestTurns(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.call("b1")
		f.call("a2")
		f.call("a3", "interactive")
		f.went("load a, a1")
		f.target.hold("a")
		f.done("a1")
		f.done("a3")
		f.went("load a, a1, a3, a2")
		f.done("a2")
		f.went("load a, a1, a3, a2, load b, b1")
		f.call("b2")
		f.turn("a2").Done() // again
		f.went("load a, a1, a3, a2, load b, b1")
		first := f.turn("b1")
		f.done("b1", "b2")
		f.call("b1")
		f.call("b3")
		first.Done() // of an ID that has come again
		synctest.Wait()
		f.went("load a, a1, a3, a2, load b, b1, b2, b1")
	})
}

func TestMore(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		for _, id := range []string{"a1", "b1", "a2", "a3"} {
			f.call(id)
		}
		f.done("a1", "a2", "a3", "b1")
		var more []string
		for _, id := range []string{"a1", "a2", "a3", "b1"} {
			if f.turn(id).More() {
				more = append(more, id)
			}
		}
		if !slices.Equal(more, []string{"a2"}) { // when a1 began nothing waited yet
			t.Errorf("more waited when %v began", more)
		}
	})
}

func TestALookBeforeASwap(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.call("c1")
		f.call("b1")
		f.target.hold("b", "x") // b by somebody past foreman
		f.target.slow = time.Second
		looks := f.target.looks
		f.done("a1")
		time.Sleep(time.Second)
		f.went("load a, a1, b1")
		f.done("b1")
		time.Sleep(time.Second)
		f.went("load a, a1, b1, load c, c1")
		if n := f.target.looks - looks; n != 2 {
			t.Errorf("it looked %d times for 2 swaps", n)
		}
	})
}

func TestALookThoughAModelIsBelievedResident(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.target.hold("b", "c")
		f.target.poll()
		f.call("c1")
		f.call("b1")
		f.call("a1")
		f.target.hold("a", "c")
		f.done("c1")
		f.went("c1, a1")
		f.done("a1")
		f.went("c1, a1, load b, b1")
	})
}

func TestALoadMayDropWhatWasResident(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.target.hold("a")
		f.target.poll()
		f.call("a1")
		f.call("b1")
		f.done("a1")
		f.target.hold("b")
		f.done("b1")
		f.call("a2")
		f.went("a1, load b, b1, load a, a2")
	})
}

func TestNoLookWithoutAChoice(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.target.hold("a:latest", "library/b")
		f.target.poll()
		for _, id := range []string{"a1", "b1", "a2"} {
			f.call(id)
			f.done(id)
		}
		f.went("a1, b1, a2")
		if f.target.looks > 0 {
			t.Errorf("it looked %d times", f.target.looks)
		}
	})
}

func TestALookThatFails(t *testing.T) {
	for name, break_ := range map[string]func(*target){
		"refused": func(g *target) { g.slow, g.err = time.Second, errors.New("refused") },
		"hangs":   func(g *target) { g.slow = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			onFloor(t, usual, func(f *floor) {
				f.target.hold("b")
				f.target.poll()
				break_(f.target)
				f.call("a1")
				f.call("b1")
				time.Sleep(2 * time.Second)
				f.went("b1") // as the snapshot has it
				f.done("b1")
				time.Sleep(2 * time.Second)
				f.went("b1, load a, a1")
			})
		})
	}
}

func TestASnapshotTellsWhatIsGone(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.call("b1")
		time.Sleep(time.Second)
		f.target.hold() // a list that leaves out what runs
		f.target.poll()
		f.call("a2")
		time.Sleep(time.Second)
		f.done("a1")
		f.went("load a, a1, a2")
		f.done("a2")
		f.done("b1")
		f.went("load a, a1, a2, load b, b1")
		f.call("b2")
		f.done("b2")
		time.Sleep(time.Minute) // its keep_alive runs out
		f.target.poll()
		f.call("b3")
		f.went("load a, a1, a2, load b, b1, b2, load b, b3")
	})
}

func TestWhatSomebodyElseLoadedWedgesNothing(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.done("a1")
		time.Sleep(time.Second)
		f.target.hold("x", "not a name")
		f.target.poll()
		f.call("a2")
		f.call("b1")
		f.went("load a, a1, load a, a2")
		f.done("a2")
		time.Sleep(3 * time.Second) // three pauses of a's
		f.went("load a, a1, load a, a2, load b, b1")
	})
}

func TestAModelThatCannotRunLetsOthersGoFirst(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.call("a2")
		f.call("b1")
		time.Sleep(time.Second)
		f.turn("a1").Failed()
		f.went("load a, a1, load b, b1")
		leave := f.call("b2")
		time.Sleep(time.Second)
		f.turn("b1").Failed()
		f.went("load a, a1, load b, b1, load a, a2")
		leave()
		f.call("a3")
		f.turn("a2").Failed() // alone: it tries again
		f.went("load a, a1, load b, b1, load a, a2, b2: context canceled, load a, a3")
	})
}

func TestItLingers(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.done("a1")
		time.Sleep(4 * time.Second)
		f.call("a2")
		f.call("b1")
		f.done("a2")
		time.Sleep(4 * time.Second)
		f.call("a3")
		f.done("a3")
		f.went("load a, a1, a2, a3")
		time.Sleep(12*time.Second - time.Nanosecond)
		f.went("load a, a1, a2, a3")
		time.Sleep(time.Nanosecond)
		f.went("load a, a1, a2, a3, load b, b1")
	})
}

func TestACallerLeaves(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.target.slow = time.Second
		leave := f.call("a1")
		f.call("b1")
		leave() // during the look before its swap
		time.Sleep(time.Second)
		f.went("a1: context canceled, load b, b1")
		leave = f.call("b2")
		f.call("b3")
		leave()
		f.done("b1")
		f.went("a1: context canceled, load b, b1, b2: context canceled, b3")
		f.call("b2") // its ID is free again
		f.done("b3")
		f.went("a1: context canceled, load b, b1, b2: context canceled, b3, b2")
	})
}

func TestWhoLeavesLetsOthersGoOn(t *testing.T) {
	opts := usual
	opts.Parallel = 2
	onFloor(t, opts, func(f *floor) {
		for _, id := range []string{"a1", "a2", "a3"} {
			f.call(id)
		}
		leave := f.call("b1")
		time.Sleep(opts.MaxStint)
		f.done("a1")
		f.went("load a, a1, a2") // b1 is next, after a2
		leave()
		f.went("load a, a1, a2, b1: context canceled, a3")
	})
}

func TestAnIDWaitsOnce(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		leave := f.call("a1")
		leave()
		gone, cancel := context.WithCancel(f.Context())
		cancel()
		for range 100 { // to leave in the moment of the answer
			if _, err := f.Acquire(gone, request(t, []string{"a1"}, time.Now())); err == nil {
				t.Error("it has two turns")
			}
		}
		f.call("a2")
		f.went("load a, a1, a1: a1 waits or runs already")
	})
}

func TestMaxWaiting(t *testing.T) {
	opts := usual
	opts.MaxWaiting = 2
	onFloor(t, opts, func(f *floor) {
		f.call("a1", "interactive")
		f.call("b1", "interactive")
		leave := f.call("b2", "interactive")
		f.call("b3", "interactive")
		f.went("load a, a1, b3: " + core.ErrBusy.Error())
		f.call("b4") // jobs are somebody else's to count
		leave()
		f.call("b5", "interactive")
		f.call("b6", "interactive")
		f.done("a1")
		f.call("b7", "interactive")
		f.call("b8", "interactive")
		f.done("b1")
		f.went("load a, a1, b3: " + core.ErrBusy.Error() + ", b2: context canceled, b6: " + core.ErrBusy.Error() +
			", load b, b1, b8: " + core.ErrBusy.Error() + ", b5")
	})
}

func TestWhoNeedNotWaitIsNeverOneTooMany(t *testing.T) {
	opts := usual
	opts.MaxWaiting = 1
	onFloor(t, opts, func(f *floor) {
		f.call("a1")
		f.done("a1")
		time.Sleep(4 * time.Second)
		f.call("a2")
		f.done("a2")
		f.call("b1", "interactive") // waits while the target lingers
		f.call("a3", "interactive")
		f.went("load a, a1, a2, a3")
	})
}

func TestBeside(t *testing.T) {
	opts := usual
	opts.Beside = []string{"E*:latest", "c"}
	onFloor(t, opts, func(f *floor) {
		f.target.hold("e")
		f.target.poll()
		f.call("a1")
		f.call("e1")
		f.call("e2")
		f.call("c1")
		f.went("load a, a1, e1, e2, c1")
		f.done("e1", "e2", "c1")
		f.call("a2")
		f.went("load a, a1, e1, e2, c1")
	})
}

func TestSetWhileItRuns(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.call("a2")
		f.call("b1")
		opts := usual
		opts.Parallel, opts.Beside, opts.MaxWaiting = 2, []string{"c"}, 1
		f.Set(opts)
		synctest.Wait()
		f.call("c1")
		f.call("b2", "interactive")
		f.call("b3", "interactive")
		f.went("load a, a1, a2, c1, b3: " + core.ErrBusy.Error())
	})
}

func TestWhatComesToLiveBesideWaitsNoLonger(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.call("b1")
		f.call("c1", "interactive")
		opts := usual
		opts.Beside = []string{"c"}
		f.Set(opts)
		f.went("load a, a1, c1")
		f.done("c1")
		opts.Beside, opts.MaxWaiting = nil, 1
		f.Set(opts)
		f.call("c2", "interactive") // nobody counts as waiting but it
		f.went("load a, a1, c1")
	})
}

func TestStop(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		f.call("a1")
		f.call("a2")
		f.call("b1")
		f.target.slow = time.Hour
		f.done("a1", "a2") // a look is under way
		f.call("c1")
		f.stop()
		f.call("d1")
		slices.Sort(f.order) // those who wait all hear of it at once
		f.went("a1, a2, b1: " + sched.ErrStopped.Error() + ", c1: " + sched.ErrStopped.Error() + ", d1: " + sched.ErrStopped.Error() + ", load a")
		f.turn("a2").Done()
		if !errors.Is(sched.ErrStopped, context.Canceled) {
			t.Error("who was told to stop can't tell by the error")
		}
	})
}

func TestTheBoardIsSoonRight(t *testing.T) {
	onFloor(t, usual, func(f *floor) {
		look := func() string {
			b := f.Board()
			var ids []string
			for _, r := range slices.Concat(b.Running, b.Waiting) {
				ids = append(ids, r.ID)
			}
			return strings.Join(ids, " ")
		}
		time.Sleep(time.Second)
		f.call("a1")
		if got := look(); got != "a1" {
			t.Errorf("it shows %q", got)
		}
		before := f.Board()
		f.call("b1")
		f.call("a2")
		if f.Board() != before {
			t.Error("each event makes a board")
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := look(); got != "a1 a2 b1" || f.Board().Swaps != 1 {
			t.Errorf("it shows %q, %d swaps", got, f.Board().Swaps)
		}
		f.done("a1")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := look(); got != "a2 b1" {
			t.Errorf("it shows %q", got)
		}
	})
}
