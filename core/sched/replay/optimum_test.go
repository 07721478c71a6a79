package replay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// smallTrace is of up to six requests for up to three models.
func smallTrace(t *testing.T, random *rand.Rand) Trace {
	t.Helper()
	trace := Trace{Load: map[core.ModelName]time.Duration{}}
	var models []core.ModelName
	for i := range 1 + random.IntN(3) {
		m, err := core.ParseModelName(fmt.Sprint("m", i))
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, m)
		trace.Load[m] = time.Duration(random.IntN(10)) * time.Second
	}
	for range 1 + random.IntN(6) {
		trace.Requests = append(trace.Requests, Request{
			Arrival: time.Duration(random.IntN(30)) * time.Second,
			Model:   models[random.IntN(len(models))],
			Run:     time.Duration(1+random.IntN(9)) * time.Second,
		})
	}
	trace.sort()
	return trace
}

// orders calls f with every order of n things.
func orders(n int, f func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var permute func(int)
	permute = func(fixed int) {
		if fixed == n {
			f(order)
		}
		for i := fixed; i < n; i++ {
			order[fixed], order[i] = order[i], order[fixed]
			permute(fixed + 1)
			order[fixed], order[i] = order[i], order[fixed]
		}
	}
	permute(0)
}

// bruteForce is the least makespan of all orders that may be, and the fewest
// swaps that reach it; ok is false if none keeps the deadline.
func bruteForce(t Trace, deadline func(int) time.Duration, mayBe func([]int) bool) (least time.Duration, swaps int, ok bool) {
	orders(len(t.Requests), func(order []int) {
		if !mayBe(order) {
			return
		}
		var end time.Duration
		var resident core.ModelName
		swapped := 0
		for _, i := range order {
			r := t.Requests[i]
			if r.Model != resident {
				resident = r.Model
				end += t.Load[r.Model]
				swapped++
			}
			start := max(end, r.Arrival)
			if start > deadline(i) {
				return
			}
			end = start + r.Run
		}
		if !ok || end < least || end == least && swapped < swaps {
			least, swaps, ok = end, swapped, true
		}
	})
	return least, swaps, ok
}

// byArrivalInModels reports whether order serves each model's requests as
// they came.
func byArrivalInModels(t Trace) func([]int) bool {
	return func(order []int) bool {
		last := map[core.ModelName]int{}
		for _, i := range order {
			if m := t.Requests[i].Model; i < last[m] {
				return false
			} else {
				last[m] = i
			}
		}
		return true
	}
}

func TestOptimumIsWhatTryingEveryOrderFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const aDay = 24 * time.Hour
	kept := 0
	for range 600 {
		trace := smallTrace(t, random)
		want, _, _ := bruteForce(trace, never, func([]int) bool { return true })
		got, ok := newClairvoyant(trace, aDay).solve()
		if !ok || got.makespan() != want {
			t.Fatalf("without deadlines it ends at %s, %t; want %s\n%+v", got.makespan(), ok, want, trace)
		}
		if least := lowerBound(trace, 1); least > want {
			t.Fatalf("nothing is said to end before %s, but %s can be\n%+v", least, want, trace)
		}

		patience := time.Duration(random.IntN(40)) * time.Second
		c := newClairvoyant(trace, aDay)
		c.swaps = true
		c.deadline = func(i int) time.Duration { return trace.Requests[i].Arrival + patience }
		want, swaps, can := bruteForce(trace, c.deadline, byArrivalInModels(trace))
		got, ok = c.solve()
		if ok != can || ok && (got.makespan() != want || len(got.Loads) != swaps) {
			t.Fatalf("with deadlines it ends at %s with %d swaps, %t; want %s with %d, %t\n%+v",
				got.makespan(), len(got.Loads), ok, want, swaps, can, trace)
		}
		if ok {
			kept++
			checkSchedule(t, trace, got, 1)
		}
	}
	if kept < 100 {
		t.Errorf("only %d traces could keep their deadlines", kept)
	}
}

// checkSchedule checks that s could have happened: each request once, after
// it came, on a model that is resident, in a slot that is free.
func checkSchedule(t *testing.T, trace Trace, s Schedule, parallel int) {
	t.Helper()
	served := make([]int, len(trace.Requests))
	for _, run := range s.Runs {
		r := trace.Requests[run.Request]
		served[run.Request]++
		if run.Start < r.Arrival || run.End-run.Start != r.Run || run.Slot < 0 || run.Slot >= parallel {
			t.Fatalf("%s: %+v of %+v", s.Policy, run, r)
		}
		resident := core.ModelName{}
		for _, l := range s.Loads {
			if l.End-l.Start != trace.Load[l.Model] || l.Start < run.End && run.Start < l.End {
				t.Fatalf("%s: %+v during %+v", s.Policy, l, run)
			}
			if l.End <= run.Start {
				resident = l.Model
			}
		}
		if resident != r.Model {
			t.Fatalf("%s: %+v runs while %s is resident", s.Policy, r, resident)
		}
		if slices.ContainsFunc(s.Runs, func(o Run) bool {
			return o.Request != run.Request && o.Slot == run.Slot && o.Start < run.End && run.Start < o.End
		}) {
			t.Fatalf("%s: two runs in slot %d at %s", s.Policy, run.Slot, run.Start)
		}
	}
	for i, n := range served {
		want := 1
		if trace.Requests[i].Beside {
			want = 0
		}
		if n != want {
			t.Fatalf("%s: request %d is served %d times", s.Policy, i, n)
		}
	}
}

func TestATraceTooLargeForTheOptimum(t *testing.T) {
	trace := Trace{Load: map[core.ModelName]time.Duration{}}
	for i := range 2000 {
		m, err := core.ParseModelName(fmt.Sprint("m", i%3))
		if err != nil {
			t.Fatal(err)
		}
		trace.Load[m] = 4 * time.Second
		trace.Requests = append(trace.Requests, Request{Arrival: time.Duration(i) * time.Second, Model: m, Run: time.Second})
	}
	c := Compare(trace, atHome)
	if c.Optimum.Kind != Bound || c.Optimum.Least != 2012*time.Second || len(c.Figures) != 2 {
		t.Errorf("%+v and %d rows", c.Optimum, len(c.Figures))
	}
}
