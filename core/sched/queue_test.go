package sched_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

var morning = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func at(t *testing.T, offset string) time.Time {
	t.Helper()
	d, err := time.ParseDuration(offset)
	if err != nil {
		t.Fatal(err)
	}
	return morning.Add(d)
}

// name is the model that a request's ID begins with.
func name(t *testing.T, id string) core.ModelName {
	t.Helper()
	n, err := core.ParseModelName(id[:1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// request reads "a1 high interactive".
func request(t *testing.T, words []string, arrived time.Time) sched.Request {
	t.Helper()
	r := sched.Request{ID: words[0], Model: name(t, words[0]), Arrived: arrived}
	for _, word := range words[1:] {
		if word == "interactive" {
			r.Interactive = true
		} else if err := r.Priority.UnmarshalText([]byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// happen tells q of an event in words, "0s add a1 high", "5s resident a".
func happen(t *testing.T, q *sched.Queue, event string) (now time.Time) {
	t.Helper()
	words := strings.Fields(event)
	now = at(t, words[0])
	ok := true
	switch words[1] {
	case "add":
		ok = q.Add(request(t, words[2:], now))
	case "leave":
		ok = q.Leave(words[2])
	case "done":
		ok = q.Done(words[2], now)
	case "resident":
		var names []core.ModelName
		for _, word := range words[2:] {
			names = append(names, name(t, word))
		}
		q.Resident(names, now)
	case "tick":
	default:
		t.Fatalf("%s?", event)
	}
	if !ok {
		t.Errorf("%s: refused", event)
	}
	return now
}

// steps asks q for its next step until that is to wait.
func steps(q *sched.Queue, now time.Time) string {
	var did []string
	for {
		switch step := q.Next(now); step.Do {
		case sched.Start:
			did = append(did, "start "+step.Request.ID)
		case sched.Swap:
			did = append(did, "swap "+strings.TrimSuffix(step.Model.String(), ":latest"))
		default:
			if !step.Until.IsZero() {
				did = append(did, "until "+step.Until.Sub(morning).String())
			}
			return strings.Join(did, ", ")
		}
	}
}

func TestQueue(t *testing.T) {
	for title, test := range map[string]struct {
		parallel int // 1 if 0
		script   string
	}{
		"an idle target": {script: `
			0s add a1 => swap a
			4s resident a => start a1
			9s done a1 =>
			10s add a2 => start a2`},
		"a resident model keeps its turn while it has work": {script: `
			0s add a1 => swap a
			1s add b1 =>
			2s add a2 =>
			4s resident a => start a1
			5s add a3 =>
			6s done a1 => start a2
			7s done a2 => start a3
			8s done a3 => swap b
			9s add a4 =>
			12s resident b => start b1
			13s done b1 => swap a`},
		"the model whose work has waited longest is next": {script: `
			0s add a1 => swap a
			1s add b1 =>
			2s add c1 =>
			3s add b2 =>
			3s leave b1 =>
			4s resident a => start a1
			5s done a1 => swap c`},
		"a long stint ends once others have waited for MaxStint": {script: `
			0s add a1 => swap a
			0s resident a => start a1
			1s add a2 =>
			2s add a3 =>
			400s add b1 =>
			401s done a1 => start a2
			650s resident a =>
			699s done a2 => start a3
			699s add a4 =>
			700s add a5 =>
			705s done a3 => swap b
			710s resident b => start b1
			712s done b1 => swap a`},
		"a stint alone has no end": {script: `
			0s add a1 => swap a
			0s add a2 =>
			0s add a3 =>
			0s resident a => start a1
			900s done a1 => start a2
			901s add b1 =>
			902s leave b1 =>
			1900s done a2 => start a3`},
		"a model that lost its turn waits anew, behind who waited meanwhile": {script: `
			0s add a1 => swap a
			0s add a2 =>
			0s add a3 =>
			0s resident a => start a1
			1s add b1 =>
			2s add c1 =>
			301s done a1 => swap b
			305s resident b => start b1
			306s done b1 => swap c
			310s resident c => start c1
			311s done c1 => swap a`},
		"rank within a model": {script: `
			0s add a1 => swap a
			1s add a-low low =>
			1s add a-normal =>
			1s add a-high high =>
			1s add a-call-low low interactive =>
			2s add a-call interactive =>
			2s add a-high2 high =>
			4s resident a => start a-call
			5s done a-call => start a-call-low
			6s done a-call-low => start a-high
			7s done a-high => start a-high2
			8s done a-high2 => start a1
			9s done a1 => start a-normal
			10s done a-normal => start a-low`},
		"once it has waited for MaxStint the oldest gets every fourth start": {script: `
			0s add a0 low => swap a
			0s resident a => start a0
			1s add a1 low =>
			1s add a2 low =>
			2s add a3 high =>
			2s add a4 high =>
			2s add a5 high =>
			2s add a6 high =>
			2s add a7 high =>
			300s done a0 => start a3
			301s done a3 => start a4
			302s done a4 => start a5
			303s done a5 => start a1
			304s done a1 => start a6
			305s done a6 => start a7`},
		"a level of priority counts as one MaxStint of waiting": {script: `
			0s add a1 => swap a
			0s resident a => start a1
			1s add b1 low =>
			300s add c1 =>
			302s add d1 =>
			602s add e1 high =>
			603s done a1 => swap c
			604s resident c => start c1
			605s done c1 => swap b
			606s resident b => start b1
			607s done b1 => swap d`},
		"slots run the resident model only, and drain before a swap": {parallel: 2, script: `
			0s add a1 => swap a
			0s add a2 =>
			0s add a3 =>
			0s add b1 =>
			4s resident a => start a1, start a2
			5s done a1 => start a3
			6s done a3 =>
			7s add a4 => start a4
			304s done a4 =>
			305s add a5 =>
			306s done a2 => swap b
			310s resident b => start b1`},
		"what has gone from memory is swapped in again": {script: `
			0s add a1 => swap a
			4s resident a => start a1
			5s add a2 =>
			6s done a1 => start a2
			7s done a2 =>
			400s resident =>
			401s add a3 => swap a`},
		"what isn't in memory any more waits anew": {script: `
			0s add a1 => swap a
			1s add a2 =>
			2s add b1 =>
			3s add c1 =>
			4s resident a => start a1
			5s resident x =>
			6s done a1 => swap b
			7s resident x => swap b
			8s resident b => start b1
			9s done b1 => swap c`},
		"what was loaded meanwhile goes first, and another gives way": {script: `
			0s add a1 => swap a
			1s add b1 =>
			2s resident x b => swap b
			3s resident b => start b1
			4s done b1 => swap a`},
		"what is in memory goes first while the stint may last": {script: `
			0s add a1 => swap a
			0s resident a b => start a1
			1s add c1 =>
			2s add b1 =>
			2s add b2 =>
			3s add a2 =>
			10s done a1 => start a2
			20s done a2 => swap b
			20s resident a b => start b1
			21s add a3 =>
			310s done b1 => swap c
			314s resident c => start c1
			315s done c1 => swap b`},
		"a guest keeps its place in the order": {script: `
			0s add a1 => swap a
			0s resident a b => start a1
			1s add c1 =>
			2s add b1 =>
			2s add b2 =>
			3s add d1 =>
			10s done a1 => swap b
			10s resident a b => start b1
			301s done b1 => swap c
			305s resident c => start c1
			306s done c1 => swap b`},
		"whose turn it is by right is no guest": {script: `
			0s add a1 => swap a
			0s resident a b => start a1
			1s add b1 =>
			1s add b2 =>
			2s add c1 =>
			100s done a1 => swap b
			100s resident a b => start b1
			310s done b1 => start b2`},
		"what has lost its turn is nobody's guest": {script: `
			0s add a1 => swap a
			0s add a2 =>
			0s resident a b => start a1
			1s add b1 =>
			200s add c1 high =>
			302s done a1 => swap b`},
		"a turn by right is a stint of its own": {script: `
			0s add a1 => swap a
			0s resident a b => start a1
			1s add b1 =>
			1s add b2 =>
			2s add c1 =>
			400s done a1 => swap b
			400s resident a b => start b1
			401s done b1 => start b2`},
		"a swap whose callers have left": {script: `
			0s add a1 => swap a
			1s leave a1 =>
			2s add b1 =>
			4s resident a => swap b`},
		"a job that comes again keeps its place": {script: `
			0s add a1 => swap a
			0s resident a => start a1
			1s add b1 =>
			2s done a1 => swap b
			3s add a1 =>
			4s resident b => start b1
			4s done b1 => swap a`},
	} {
		t.Run(title, func(t *testing.T) {
			runScript(t, sched.Rules{Parallel: max(1, test.parallel), MaxStint: 5 * time.Minute}, test.script)
		})
	}
}

// runScript tells a queue events, and compares what it says with what each
// line has after its arrow.
func runScript(t *testing.T, rules sched.Rules, script string) {
	t.Helper()
	q := sched.NewQueue(rules)
	for line := range strings.Lines(strings.TrimSpace(script)) {
		event, want, _ := strings.Cut(line, "=>")
		now := happen(t, q, event)
		if got := steps(q, now); got != strings.TrimSpace(want) {
			t.Fatalf("%s: it says %q, want %q", strings.TrimSpace(event), got, strings.TrimSpace(want))
		}
	}
}

func TestQueueRefusesWhatItHasOrHasNot(t *testing.T) {
	q := sched.NewQueue(sched.Rules{Parallel: 1, MaxStint: time.Minute})
	a1 := request(t, []string{"a1"}, morning)
	if q.Leave("a1") || q.Done("a1", morning) {
		t.Error("what never came has left")
	}
	if !q.Add(a1) || q.Add(a1) {
		t.Error("a request that waits was added twice")
	}
	if q.Done("a1", morning) {
		t.Error("a request that only waits is done")
	}
	steps(q, morning)
	q.Resident([]core.ModelName{a1.Model}, morning)
	steps(q, morning)
	if q.Add(a1) || q.Leave("a1") {
		t.Error("a request that runs was added again, or left")
	}
	if !q.Done("a1", morning) || q.Done("a1", morning) || !q.Add(a1) {
		t.Error("a request isn't done exactly once, or can't come again")
	}
}

func TestVeryManyModels(t *testing.T) {
	q := sched.NewQueue(sched.Rules{Parallel: 1, MaxStint: time.Minute})
	for _, event := range []string{"0s add a1", "0s resident a", "0s add b1"} {
		steps(q, happen(t, q, event))
	}
	for i := range 1000 {
		made, err := core.ParseModelName(fmt.Sprint("made-up", i))
		if err != nil {
			t.Fatal(err)
		}
		q.Add(sched.Request{ID: "x", Model: made, Arrived: morning})
		q.Leave("x")
	}
	happen(t, q, "1s add a2")
	if got := steps(q, happen(t, q, "2s done a1")) + ", " + steps(q, happen(t, q, "3s done a2")); got != "start a2, swap b" {
		t.Errorf("it says %q", got)
	}
}

func TestQueueKeepsTheOrderOfArrivalWhateverTheOrderOfAdding(t *testing.T) {
	q := sched.NewQueue(sched.Rules{Parallel: 9, MaxStint: time.Minute})
	for _, offset := range []string{"3s", "1s", "2s", "4s"} {
		q.Add(sched.Request{ID: offset, Model: name(t, "a"), Arrived: at(t, offset)})
	}
	q.Leave("2s")
	steps(q, morning)
	q.Resident([]core.ModelName{name(t, "a")}, morning)
	if got := steps(q, at(t, "5s")); got != "start 1s, start 3s, start 4s" {
		t.Error(got)
	}
}

func TestPriorityIsReadAsItIsWritten(t *testing.T) {
	levels := []core.Priority{core.PriorityLow, core.PriorityNormal, core.PriorityHigh}
	if !slices.IsSorted(levels) {
		t.Error("the levels are out of order")
	}
	for _, level := range levels {
		var got core.Priority
		if err := got.UnmarshalText([]byte(level.String())); err != nil || got != level {
			t.Errorf("%s is read as %s, %v", level, got, err)
		}
	}
	var p core.Priority
	if err := p.UnmarshalText([]byte("urgent")); err == nil {
		t.Error("urgent is a priority")
	}
}
