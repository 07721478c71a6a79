package replay

import (
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// A Comparison is what each policy made of one trace.
type Comparison struct {
	Schedules []Schedule // of foreman, of fifo, and of the optimum where one was found
	Figures   []Figures  // of each
	Optimum   Optimum
}

// An Optimum says what the clairvoyant's figures are worth. Whatever they
// are, no schedule ends before Least, not even one that lets callers wait for
// ever.
type Optimum struct {
	Kind  Kind
	Least time.Duration
}

// A Kind is how well the optimum is known.
type Kind string

// The kinds.
const (
	// Exact: no schedule ends earlier, and of those that end then, keep the
	// bound and serve each model in the order of arrival, none swaps less.
	Exact Kind = "exact"
	// Ordered: the best that keeps the bound and serves each model in the
	// order of arrival. Another order may do better, down to Least.
	Ordered Kind = "ordered"
	// Bound: Least alone is known, for the trace is too large, slots run in
	// parallel, or no schedule in the order of arrival keeps the bound.
	Bound Kind = "bound"
)

// Figures sum a schedule up.
type Figures struct {
	Policy   string
	Makespan time.Duration // from the first arrival to the last end
	Swaps    int           // the first load is one
	P50, P99 time.Duration // of the waits from arrival to start
	Longest  time.Duration
	OfBound  float64 // the largest share of its bound that a request waited; over 1 is late
}

// Compare puts the trace through foreman's policy, through first come, first
// served, and before a clairvoyant who minds the same bound: no request waits
// longer than [sched.Rules.WaitBound] says for it, given what was ahead of
// it in foreman's queue as it came.
func Compare(t Trace, opts sched.Rules) Comparison {
	foreman := simulate("foreman", t, sched.NewQueue(opts), opts.Parallel)
	inOrder := simulate("fifo", t, &fifo{parallel: opts.Parallel}, opts.Parallel)
	bounds := waitBounds(t, opts, foreman)
	c := Comparison{Schedules: []Schedule{foreman, inOrder}}
	known, best, found := optimum(t, opts, bounds, foreman.makespan())
	if found {
		c.Schedules = append(c.Schedules, best)
	}
	c.Optimum = known
	for _, s := range c.Schedules {
		c.Figures = append(c.Figures, s.figures(t, bounds))
	}
	return c
}

// optimum looks for a schedule that ends by latest, when foreman's does.
func optimum(t Trace, opts sched.Rules, bounds []time.Duration, latest time.Duration) (Optimum, Schedule, bool) {
	known := Optimum{Kind: Bound, Least: lowerBound(t, opts.Parallel)}
	if opts.Parallel > 1 {
		return known, Schedule{}, false
	}
	bounded := newClairvoyant(t, latest)
	bounded.swaps = true
	bounded.deadline = func(i int) time.Duration { return t.Requests[i].Arrival + bounds[i] }
	best, found := bounded.solve()
	if !found || best.makespan() > known.Least { // else a look without deadlines finds no better
		if free, ok := newClairvoyant(t, latest).solve(); ok {
			known.Least = free.makespan()
		}
	}
	switch {
	case !found:
	case best.makespan() == known.Least:
		known.Kind = Exact
	default:
		known.Kind = Ordered
	}
	return known, best, found
}

// waitBounds is how long each request may wait by the policy's own rules.
func waitBounds(t Trace, opts sched.Rules, foreman Schedule) []time.Duration {
	models, costs := t.models()
	others := map[core.ModelName][]sched.Cost{}
	for _, m := range models {
		for _, other := range models {
			if other != m {
				others[m] = append(others[m], costs[other])
			}
		}
	}
	starts := make([]time.Duration, len(t.Requests))
	for _, run := range foreman.Runs {
		starts[run.Request] = run.Start
	}
	bounds := make([]time.Duration, len(t.Requests))
	waiting := map[core.ModelName][]time.Duration{} // the starts of what waits as r comes
	for i, r := range t.Requests {
		if r.Beside {
			continue
		}
		ahead := slices.DeleteFunc(waiting[r.Model], func(start time.Duration) bool { return start < r.Arrival })
		bounds[i] = opts.WaitBound(r.Priority, costs[r.Model], others[r.Model], len(ahead))
		waiting[r.Model] = append(ahead, starts[i])
	}
	return bounds
}

func (s Schedule) makespan() time.Duration {
	var last time.Duration
	for _, run := range s.Runs {
		last = max(last, run.End)
	}
	return last
}

func (s Schedule) figures(t Trace, bounds []time.Duration) Figures {
	f := Figures{Policy: s.Policy, Makespan: s.makespan(), Swaps: len(s.Loads)}
	var waits []time.Duration
	for _, run := range s.Runs {
		wait := run.Start - t.Requests[run.Request].Arrival
		waits = append(waits, wait)
		if bound := bounds[run.Request]; bound > 0 {
			f.OfBound = max(f.OfBound, float64(wait)/float64(bound))
		}
	}
	if len(waits) == 0 {
		return f
	}
	slices.Sort(waits)
	at := func(share float64) time.Duration { return waits[int(share*float64(len(waits)-1)+0.5)] }
	f.P50, f.P99, f.Longest = at(0.5), at(0.99), waits[len(waits)-1]
	return f
}
