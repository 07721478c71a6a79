package replay

import (
	"slices"
	"strconv"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// A Schedule is what a policy made of a trace.
type Schedule struct {
	Policy string
	Runs   []Run // in the order of their start
	Loads  []Load
}

// A Run is a request being served.
type Run struct {
	Request    int // its index in the trace
	Slot       int // from 0, less than Parallel
	Start, End time.Duration
}

// A Load is the worker model being swapped.
type Load struct {
	Model      core.ModelName
	Start, End time.Duration
}

// A policy decides what happens next: core/sched's queue, or what stands in
// for it.
type policy interface {
	Add(sched.Request) bool
	Next(now time.Time) sched.Step
	Resident(names []core.ModelName, now time.Time)
	Done(id string, now time.Time) bool
}

// epoch is when a trace begins.
var epoch = time.Unix(0, 0)

// simulation is one run through a trace.
type simulation struct {
	trace   Trace
	policy  policy
	now     time.Duration
	running []Run
	loading *Load
	free    []int     // slots
	until   time.Time // when to ask the policy again; zero for never
	out     Schedule
}

// simulate puts the trace through p. What ends and what comes at the same
// moment has all happened before p is asked.
func simulate(name string, t Trace, p policy, parallel int) Schedule {
	s := simulation{trace: t, policy: p, out: Schedule{Policy: name}}
	for slot := range parallel {
		s.free = append(s.free, parallel-1-slot)
	}
	next := 0
	for {
		for ; next < len(t.Requests) && t.Requests[next].Arrival <= s.now; next++ {
			s.arrive(next)
		}
		s.act()
		at, any := s.soonest()
		if next < len(t.Requests) && (!any || t.Requests[next].Arrival < at) {
			at, any = t.Requests[next].Arrival, true
		}
		if !any {
			return s.out
		}
		s.now = at
		s.end()
	}
}

func (s *simulation) arrive(i int) {
	r := s.trace.Requests[i]
	if r.Beside {
		return
	}
	s.policy.Add(sched.Request{
		ID: strconv.Itoa(i), Model: r.Model, Priority: r.Priority, Interactive: r.Interactive, Arrived: epoch.Add(r.Arrival),
	})
}

// act does what the policy says until that is to wait.
func (s *simulation) act() {
	for {
		switch step := s.policy.Next(epoch.Add(s.now)); step.Do {
		case sched.Start:
			i, _ := strconv.Atoi(step.Request.ID) // arrive wrote it
			run := Run{Request: i, Slot: s.free[len(s.free)-1], Start: s.now, End: s.now + s.trace.Requests[i].Run}
			s.free = s.free[:len(s.free)-1]
			s.running = append(s.running, run)
			s.out.Runs = append(s.out.Runs, run)
		case sched.Swap:
			s.loading = &Load{Model: step.Model, Start: s.now, End: s.now + s.trace.Load[step.Model]}
			return
		default:
			s.until = step.Until
			return
		}
	}
}

// soonest is when the first of what is under way ends.
func (s *simulation) soonest() (at time.Duration, any bool) {
	for _, run := range s.running {
		if !any || run.End < at {
			at, any = run.End, true
		}
	}
	if until := s.until.Sub(epoch); !s.until.IsZero() && (!any || until < at) {
		at, any = until, true
	}
	if s.loading != nil && (!any || s.loading.End < at) {
		at, any = s.loading.End, true
	}
	return at, any
}

// end ends what ends now.
func (s *simulation) end() {
	s.running = slices.DeleteFunc(s.running, func(run Run) bool {
		if run.End > s.now {
			return false
		}
		s.policy.Done(strconv.Itoa(run.Request), epoch.Add(s.now))
		s.free = append(s.free, run.Slot)
		return true
	})
	if s.loading != nil && s.loading.End <= s.now {
		s.policy.Resident([]core.ModelName{s.loading.Model}, epoch.Add(s.now))
		s.out.Loads = append(s.out.Loads, *s.loading)
		s.loading = nil
	}
}

// fifo serves first come, first served; of one model at most parallel at once.
type fifo struct {
	parallel int
	waiting  []sched.Request
	running  int
	resident core.ModelName
	loading  bool
}

func (f *fifo) Add(e sched.Request) bool {
	f.waiting = append(f.waiting, e)
	return true
}

func (f *fifo) Next(time.Time) sched.Step {
	switch {
	case f.loading || len(f.waiting) == 0:
	case f.waiting[0].Model != f.resident:
		if f.running == 0 {
			f.loading = true
			return sched.Step{Do: sched.Swap, Model: f.waiting[0].Model}
		}
	case f.running < f.parallel:
		e := f.waiting[0]
		f.waiting = f.waiting[1:]
		f.running++
		return sched.Step{Do: sched.Start, Request: e}
	}
	return sched.Step{}
}

func (f *fifo) Resident(names []core.ModelName, _ time.Time) { f.resident, f.loading = names[0], false }

func (f *fifo) Done(string, time.Time) bool {
	f.running--
	return true
}
