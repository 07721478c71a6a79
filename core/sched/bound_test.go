package sched_test

import (
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// b takes all that it may: a's call comes as b begins to load, and b's last
// run begins just before its stint is over.
func TestTurnBoundIsReached(t *testing.T) {
	opts := sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute}
	q := sched.NewQueue(opts)
	for _, step := range [][2]string{
		{"0s add b1", "swap b"},
		{"0s add a1 high", ""},
		{"1s add b2", ""},
		{"1s add b3", ""},
		{"4s resident b", "start b1"},
		{"303.9s done b1", "start b2"},
		{"603.9s done b2", "swap a"},
		{"613.9s resident a", "start a1"},
	} {
		if got := steps(q, happen(t, q, step[0])); got != step[1] {
			t.Fatalf("%s: it says %q, want %q", step[0], got, step[1])
		}
	}
	const load = 10 * time.Second
	b := sched.Cost{Load: 4 * time.Second, Run: 300 * time.Second}
	if got, want := opts.TurnBound(core.PriorityHigh, load, []sched.Cost{b}), 614*time.Second; got != want {
		t.Errorf("the bound is %s, want %s", got, want)
	}
	if got, want := opts.TurnBound(core.PriorityLow, load, []sched.Cost{b, b}), (10+2*300+2*604)*time.Second; got != want {
		t.Errorf("of low priority against two it is %s, want %s", got, want)
	}
}

func TestWaitBound(t *testing.T) {
	opts := sched.Rules{Parallel: 1, MaxStint: 300 * time.Second}
	a := sched.Cost{Load: 10 * time.Second, Run: 20 * time.Second}
	b := sched.Cost{Load: 4 * time.Second, Run: 50 * time.Second}
	const turn = 10 + 4 + 300 + 50
	for _, test := range []struct {
		own    sched.Cost
		others []sched.Cost
		ahead  int
		want   int // seconds
	}{
		{a, nil, 0, 300 + 5*20 + 10},
		{a, []sched.Cost{b}, 0, 300 + 5*20 + turn},      // 4 starts are within one turn of 15
		{a, []sched.Cost{b}, 2, 300 + 13*20 + turn},     // so are 12
		{a, []sched.Cost{b}, 3, 300 + 17*20 + 2*turn},   // 16 take two
		{sched.Cost{}, []sched.Cost{b}, 9, 300 + 354},   // what takes no time ends in one
		{b, []sched.Cost{a}, 1, 300 + 9*50 + 2*(4+330)}, // 8 starts, 6 a turn
	} {
		if got := opts.WaitBound(core.PriorityHigh, test.own, test.others, test.ahead); got != time.Duration(test.want)*time.Second {
			t.Errorf("%+v behind %d, beside %v: %s, want %ds", test.own, test.ahead, test.others, got, test.want)
		}
	}
}
