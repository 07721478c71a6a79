package replay

import (
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// maxStates is how large a trace may be for the clairvoyant to go through it
// state by state: some 100 MB and a second.
const maxStates = 1 << 20

// A clairvoyant finds the schedule of least makespan by dynamic programming:
// a state is how many requests of each model are served and which model is
// resident, and it keeps the earliest ends at which that can be. It knows
// arrivals before they come, loads ahead of them, and may idle.
//
// It serves each model's requests as they arrived. That loses nothing where
// no deadline binds: to move a request before a later one of its model
// delays nothing beyond where it stood.
type clairvoyant struct {
	trace    Trace
	models   []core.ModelName
	queues   [][]int // of each model: indices of its requests
	strides  []int
	deadline func(request int) time.Duration // the latest start
	before   time.Duration                   // ends later than this are of no interest
	swaps    bool                            // of equal makespans prefer the fewest swaps

	nodes []node
	at    [][]int32 // of each state but for what is resident: nodes, none better than another
}

// node is a way to have served some requests.
type node struct {
	end    time.Duration // of the last
	rest   time.Duration // of runs still to come
	parent int32
	swaps  int32
	model  int16 // resident; -1 at the start
}

func never(int) time.Duration { return 1<<63 - 1 }

func newClairvoyant(t Trace, before time.Duration) *clairvoyant {
	models, _ := t.models()
	c := &clairvoyant{trace: t, models: models, queues: make([][]int, len(models)), deadline: never, before: before}
	for i, r := range t.Requests {
		if !r.Beside {
			m := slices.Index(models, r.Model)
			c.queues[m] = append(c.queues[m], i)
		}
	}
	return c
}

// states counts them, or gives up beyond maxStates.
func (c *clairvoyant) states() (n int, ok bool) {
	n = 1
	c.strides = c.strides[:0]
	for _, q := range c.queues {
		c.strides = append(c.strides, n)
		n *= len(q) + 1
		if n > maxStates {
			return 0, false
		}
	}
	return n, true
}

// solve returns the best schedule, and false if the trace is too large or no
// schedule in this order keeps the deadlines.
func (c *clairvoyant) solve() (Schedule, bool) {
	n, ok := c.states()
	if !ok {
		return Schedule{}, false
	}
	var rest time.Duration
	for _, q := range c.queues {
		for _, i := range q {
			rest += c.trace.Requests[i].Run
		}
	}
	c.nodes = []node{{rest: rest, parent: -1, model: -1}}
	c.at = make([][]int32, n)
	c.at[0] = []int32{0}
	for state := range n - 1 { // serving adds to the number, so each is whole when its turn comes
		if len(c.nodes) > 4*maxStates {
			return Schedule{}, false
		}
		for _, from := range c.at[state] {
			for m := range c.models {
				c.serve(state, from, m)
			}
		}
	}
	if len(c.at[n-1]) == 0 {
		return Schedule{}, false
	}
	best := slices.MinFunc(c.at[n-1], func(a, b int32) int {
		if d := c.nodes[a].end - c.nodes[b].end; d != 0 {
			return int(d)
		}
		return int(c.nodes[a].swaps - c.nodes[b].swaps)
	})
	return c.schedule(best), true
}

// serve goes on from a node by the next request of model m.
func (c *clairvoyant) serve(state int, from int32, m int) {
	served := state / c.strides[m] % (len(c.queues[m]) + 1)
	if served == len(c.queues[m]) {
		return
	}
	i := c.queues[m][served]
	was, request := c.nodes[from], c.trace.Requests[i]
	to := node{rest: was.rest - request.Run, parent: from, swaps: was.swaps, model: int16(m)}
	start := was.end
	if int(was.model) != m {
		start += c.load(m)
		if c.swaps {
			to.swaps++
		}
	}
	start = max(start, request.Arrival)
	to.end = start + request.Run
	if start > c.deadline(i) || to.end+to.rest > c.before {
		return
	}
	c.keep(state+c.strides[m], to)
}

// keep adds a node to a state unless one there is as good, and drops those
// that are no better than it.
func (c *clairvoyant) keep(state int, n node) {
	for _, other := range c.at[state] {
		if c.asGood(c.nodes[other], n) {
			return
		}
	}
	c.at[state] = slices.DeleteFunc(c.at[state], func(other int32) bool { return c.asGood(n, c.nodes[other]) })
	c.at[state] = append(c.at[state], int32(len(c.nodes)))
	c.nodes = append(c.nodes, n)
}

// asGood reports whether whatever can follow b can follow a, no later and
// with no more swaps.
func (c *clairvoyant) asGood(a, b node) bool {
	if a.model != b.model {
		a.end += c.load(int(b.model))
		if c.swaps {
			a.swaps++
		}
	}
	return a.end <= b.end && a.swaps <= b.swaps
}

func (c *clairvoyant) load(m int) time.Duration { return c.trace.Load[c.models[m]] }

// schedule follows the nodes back from the last one.
func (c *clairvoyant) schedule(last int32) Schedule {
	out := Schedule{Policy: "optimum"}
	left := make([]int, len(c.queues)) // of each model, from the end
	for at := last; c.nodes[at].parent >= 0; at = c.nodes[at].parent {
		n := c.nodes[at]
		queue := c.queues[n.model]
		left[n.model]++
		i := queue[len(queue)-left[n.model]]
		out.Runs = append(out.Runs, Run{Request: i, Start: n.end - c.trace.Requests[i].Run, End: n.end})
		if before := c.nodes[n.parent]; before.model != n.model {
			out.Loads = append(out.Loads, Load{
				Model: c.models[n.model], Start: before.end, End: before.end + c.load(int(n.model)),
			})
		}
	}
	slices.Reverse(out.Runs)
	slices.Reverse(out.Loads)
	return out
}

// lowerBound is a makespan that no schedule can beat: from each arrival on,
// what comes then or later has to run, and each of its models but the one that
// may be resident has to load.
func lowerBound(t Trace, parallel int) time.Duration {
	var bound, runs, loads, largest time.Duration
	seen := map[core.ModelName]bool{}
	for _, r := range slices.Backward(t.Requests) {
		if r.Beside {
			continue
		}
		runs += r.Run
		if load := t.Load[r.Model]; !seen[r.Model] {
			seen[r.Model] = true
			loads += load
			largest = max(largest, load)
		}
		bound = max(bound, r.Arrival+loads-largest+runs/time.Duration(parallel), r.Arrival+r.Run)
	}
	return max(bound, loads+runs/time.Duration(parallel)) // at the start none is resident
}
