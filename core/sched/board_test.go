package sched_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

func TestBoard(t *testing.T) {
	type board struct {
		Turn, Swapping   string
		Running, Waiting []string
		Swaps            int
	}
	look := func(q *sched.Queue, now time.Time) board {
		b := q.Board(now)
		ids := func(requests []sched.Request) []string {
			list := []string{}
			for _, e := range requests {
				list = append(list, e.ID)
			}
			return list
		}
		model := func(n core.ModelName) string {
			if n == (core.ModelName{}) {
				return ""
			}
			return n.String()
		}
		return board{model(b.Turn), model(b.Swapping), ids(b.Running), ids(b.Waiting), b.Swaps}
	}
	q := sched.NewQueue(sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute})
	for _, step := range []struct {
		events string
		want   board
	}{
		{"0s tick", board{Running: []string{}, Waiting: []string{}}},
		{"0s add b1|0s add b2|1s add a1|1s add a2 interactive|2s add c1 high",
			board{"", "b:latest", []string{}, []string{"b1", "b2", "c1", "a2", "a1"}, 2}},
		{"3s resident b", board{"b:latest", "", []string{"b1"}, []string{"b2", "c1", "a2", "a1"}, 2}},
		{"304s tick", board{"b:latest", "", []string{"b1"}, []string{"c1", "a2", "a1", "b2"}, 3}},
		{"305s done b1", board{"", "c:latest", []string{}, []string{"c1", "a2", "a1", "b2"}, 2}},
		{"309s resident", board{"", "c:latest", []string{}, []string{"c1", "a2", "a1", "b2"}, 2}},
	} {
		var now time.Time
		for event := range strings.SplitSeq(step.events, "|") {
			now = happen(t, q, event)
			steps(q, now)
		}
		if diff := cmp.Diff(step.want, look(q, now)); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.events, diff)
		}
	}
}

func TestTheBoardSaysUntilWhenTheTargetIdles(t *testing.T) {
	q := sched.NewQueue(sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute, Linger: 20 * time.Second})
	for _, step := range []struct {
		events string
		until  string
	}{
		{"0s add a1|0s resident a|2s done a1|6s add a2|7s add b1", ""},
		{"8s done a2|10s tick", "20s"},
		{"11s leave b1", ""},
		{"12s add b2", "20s"},
		{"13s add a3", ""},
		{"14s done a3|40s tick", ""}, // it swaps
	} {
		var now time.Time
		for event := range strings.SplitSeq(step.events, "|") {
			now = happen(t, q, event)
			steps(q, now)
		}
		got := ""
		if b := q.Board(now); !b.Idle.IsZero() {
			got = b.Idle.Sub(morning).String()
		}
		if got != step.until {
			t.Errorf("after %s it idles until %q, want %q", step.events, got, step.until)
		}
	}
}

func TestBoardOfWhatIsInMemory(t *testing.T) {
	q := sched.NewQueue(sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute})
	for _, event := range []string{"0s add a1", "0s resident a b", "1s add c1", "2s add b1", "3s add d1"} {
		steps(q, happen(t, q, event))
	}
	var order []string
	b := q.Board(at(t, "4s"))
	for _, r := range b.Waiting {
		order = append(order, r.ID)
	}
	if got := strings.Join(order, " "); got != "b1 c1 d1" || b.Swaps != 2 {
		t.Errorf("%s are to come, with %d swaps", got, b.Swaps)
	}
}

func TestBoardIsACopy(t *testing.T) {
	q := sched.NewQueue(sched.Rules{Parallel: 1, MaxStint: time.Minute})
	for _, event := range []string{"0s add a1", "0s add a2", "0s resident a"} {
		steps(q, happen(t, q, event))
	}
	b := q.Board(morning)
	b.Running[0].ID, b.Waiting[0].ID = "changed", "changed"
	if b := q.Board(morning); b.Running[0].ID != "a1" || b.Waiting[0].ID != "a2" {
		t.Errorf("who wrote into a board changed the queue: %+v", b)
	}
	if !q.Done("a1", morning) || steps(q, morning) != "start a2" {
		t.Error("after a look at it the queue doesn't go on")
	}
}
