package sched_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// arrival is three bytes of a fuzz input.
type arrival struct {
	gap     time.Duration // since the arrival before
	request sched.Request
	run     time.Duration
	leave   int // if above 0, the entry that many before leaves as this one comes
}

func arrivals(models []core.ModelName, input []byte) []arrival {
	var all []arrival
	for in := range slices.Chunk(input, 3) {
		if len(in) < 3 || len(all) == 300 {
			break
		}
		all = append(all, arrival{
			gap: time.Duration(in[0]%32) * time.Second,
			request: sched.Request{
				ID: fmt.Sprint(len(all)), Model: models[int(in[1])%len(models)],
				Priority: core.Priority(in[1]/4%3) - 1, Interactive: in[1]&0x40 != 0,
			},
			run:   time.Duration(in[2]%16) * time.Second,
			leave: int(in[2] / 16 % 8 * (in[0] / 64)), // one in four never
		})
	}
	return all
}

// site is a target in front of a queue, and all that is checked of the two.
type site struct {
	*testing.T
	q       *sched.Queue
	rules   sched.Rules
	costs   map[core.ModelName]sched.Cost
	now     time.Time
	runs    map[string]time.Duration
	bounds  map[string]time.Duration // on the wait for the start
	waiting []sched.Request          // in the order of arrival
	running map[string]time.Time     // when it ends
	ended   map[string]int
	room    int              // models that fit in memory
	memory  []core.ModelName // the last that ran is the last
	turn    core.ModelName
	since   time.Time // of that turn
	loading core.ModelName
	loaded  time.Time
	left    map[core.ModelName]time.Time
	lingers time.Time     // until when; zero if it doesn't
	idle    time.Time     // since when
	idled   time.Duration // in this turn
}

// others are the costs of the models but one.
func (s *site) others(than core.ModelName) []sched.Cost {
	var longest time.Duration
	for _, cost := range s.costs {
		longest = max(longest, cost.Run)
	}
	var others []sched.Cost
	if s.room > 1 {
		others = append(others, sched.Cost{Run: longest})
	}
	for m, cost := range s.costs {
		if s.room > 1 {
			cost.Run = longest
		}
		if m != than {
			others = append(others, cost)
		}
	}
	return others
}

func FuzzQueue(f *testing.F) {
	f.Add(byte(0), byte(20), []byte("\x00\x00\x05\x01\x01\x05\x01\x02\x05\x01\x04\x0f\x01\x08\x0f"))
	f.Add(byte(1), byte(5), []byte("aQ1bR2cS3dT4eU5fV6gW7hX8iY9jZ0kA1lB2mC3nD4oE5pF6qG7rH8sI9tJ0"))
	// Days without end, from idle to far too much.
	random := rand.New(rand.NewPCG(1, 2))
	for busy := range byte(32) {
		input := make([]byte, 900)
		for i := range input {
			input[i] = byte(random.Uint32())
			if i%3 == 0 {
				input[i] = input[i]%(32-busy) | input[i]&0xC0
			}
		}
		f.Add(busy, busy*7, input)
	}
	f.Fuzz(func(t *testing.T, parallel, stint byte, input []byte) {
		rules := sched.Rules{Parallel: 1 + int(parallel%3), MaxStint: time.Duration(1+stint%60) * time.Second, Linger: time.Duration(stint%4*5) * time.Second}
		s := &site{
			T: t, q: sched.NewQueue(rules), rules: rules, room: 1 + int(parallel/3%2), now: morning, costs: map[core.ModelName]sched.Cost{},
			runs: map[string]time.Duration{}, bounds: map[string]time.Duration{}, running: map[string]time.Time{},
			ended: map[string]int{}, left: map[core.ModelName]time.Time{},
		}
		models := []core.ModelName{name(t, "a"), name(t, "b"), name(t, "c"), name(t, "d")}
		all := arrivals(models, input)
		for i, m := range models {
			s.costs[m] = sched.Cost{Load: time.Duration(3*i) * time.Second}
		}
		for _, a := range all {
			cost := s.costs[a.request.Model]
			s.costs[a.request.Model] = sched.Cost{Load: cost.Load, Run: max(cost.Run, a.run)}
		}
		at := morning
		for i, a := range all {
			at = at.Add(a.gap)
			s.passUntil(at)
			s.add(a)
			if a.leave > 0 && a.leave <= i {
				s.leave(all[i-a.leave].request.ID)
			}
			s.act()
		}
		s.passUntil(at.Add(1000 * time.Hour))
		for _, a := range all {
			if n := s.ended[a.request.ID]; n != 1 {
				t.Errorf("%s has ended %d times", a.request.ID, n)
			}
		}
	})
}

// passUntil lets end what ends by then, in its order.
func (s *site) passUntil(then time.Time) {
	for {
		next := then
		for _, end := range s.running {
			if end.Before(next) {
				next = end
			}
		}
		if s.loading != (core.ModelName{}) && s.loaded.Before(next) {
			next = s.loaded
		}
		if !s.lingers.IsZero() && s.lingers.Before(next) {
			next = s.lingers
		}
		if next.Equal(then) {
			s.now = then
			return
		}
		s.now = next
		for _, id := range slices.Sorted(maps.Keys(s.running)) {
			if s.running[id].Equal(next) {
				delete(s.running, id)
				s.ended[id]++
				s.q.Done(id, s.now)
			}
		}
		if s.loading != (core.ModelName{}) && s.loaded.Equal(next) {
			s.load()
		}
		s.act()
	}
}

func (s *site) add(a arrival) {
	e := a.request
	e.Arrived = s.now
	ahead := len(s.waitingFor(func(m core.ModelName) bool { return m == e.Model }))
	s.runs[e.ID], s.bounds[e.ID] = a.run, s.rules.WaitBound(e.Priority, s.costs[e.Model], s.others(e.Model), ahead)
	s.waiting = append(s.waiting, e)
	s.q.Add(e)
}

func (s *site) leave(id string) {
	waits := slices.ContainsFunc(s.waiting, func(e sched.Request) bool { return e.ID == id })
	if s.q.Leave(id) != waits {
		s.Fatalf("%s leaves: %t", id, !waits)
	}
	if waits {
		s.forget(id)
		s.ended[id]++
	}
}

func (s *site) forget(id string) {
	s.waiting = slices.DeleteFunc(s.waiting, func(e sched.Request) bool { return e.ID == id })
}

func (s *site) waitingFor(which func(core.ModelName) bool) []sched.Request {
	var some []sched.Request
	for _, e := range s.waiting {
		if which(e.Model) {
			some = append(some, e)
		}
	}
	return some
}

func (s *site) isTurn(m core.ModelName) bool  { return m == s.turn }
func (s *site) isOther(m core.ModelName) bool { return m != s.turn }

// load ends a swap, and checks that no work waited too long for it.
func (s *site) load() {
	m := s.loading
	for _, e := range s.waitingFor(func(of core.ModelName) bool { return of == m }) {
		from := e.Arrived
		if s.left[m].After(from) {
			from = s.left[m]
		}
		if wait, bound := s.now.Sub(from), s.rules.TurnBound(e.Priority, s.costs[m].Load, s.others(m)); wait > bound {
			s.Fatalf("%s waited %s for its model's turn, over %s", e.ID, wait, bound)
		}
	}
	s.turn, s.since, s.loading, s.idled = m, s.now, core.ModelName{}, 0
	s.memory = append(slices.DeleteFunc(s.memory, func(of core.ModelName) bool { return of == m }), m)
	s.memory = s.memory[max(0, len(s.memory)-s.room):]
	s.q.Resident(s.memory, s.now)
}

// act does what the queue says, and checks that it may say so.
func (s *site) act() {
	if !s.idle.IsZero() {
		s.idled += s.now.Sub(s.idle)
	}
	s.lingers, s.idle = time.Time{}, time.Time{}
	for {
		step := s.q.Next(s.now)
		if s.loading != (core.ModelName{}) && step.Do != sched.Wait {
			s.Fatal("a step during a swap")
		}
		switch step.Do {
		case sched.Start:
			s.start(step.Request)
		case sched.Swap:
			if s.q.Resident(s.memory, s.now); !slices.Contains(s.memory, step.Model) {
				step = s.q.Next(s.now) // after a look it says the same
			}
			s.swap(step.Model)
			if s.loaded.Equal(s.now) {
				s.load()
			}
		default:
			if !step.Until.IsZero() {
				s.linger(step.Until)
			} else {
				s.checkWait()
			}
			return
		}
	}
}

func (s *site) start(e sched.Request) {
	switch {
	case !slices.Contains(s.waiting, e):
		s.Fatalf("%s starts and doesn't wait", e.ID)
	case e.Model != s.turn:
		s.Fatalf("%s starts, it isn't its model's turn", e.ID)
	case len(s.running) >= s.rules.Parallel:
		s.Fatalf("%s starts, and all slots are taken", e.ID)
	}
	if wait := s.now.Sub(e.Arrived); wait > s.bounds[e.ID] {
		s.Fatalf("%s waited %s, over %s", e.ID, wait, s.bounds[e.ID])
	}
	s.forget(e.ID)
	s.running[e.ID] = s.now.Add(s.runs[e.ID])
}

func (s *site) swap(m core.ModelName) {
	others := s.waitingFor(s.isOther)
	fits := func(m core.ModelName) bool { return slices.Contains(s.memory, m) }
	away := s.waitingFor(func(m core.ModelName) bool { return !fits(m) })
	switch {
	case len(s.running) > 0:
		s.Fatalf("a swap to %s while another model runs", m)
	case !slices.ContainsFunc(others, func(e sched.Request) bool { return e.Model == m }):
		s.Fatalf("a swap to %s, for which nothing waits", m)
	case len(s.waitingFor(s.isTurn)) > 0 &&
		(s.room == 1 && s.now.Sub(s.since) < s.rules.MaxStint || s.now.Sub(others[0].Arrived) < s.rules.MaxStint):
		s.Fatalf("%s loses its turn early", s.turn)
	case !fits(m) && len(away) < len(s.waiting) && s.now.Sub(away[0].Arrived) < s.rules.MaxStint:
		s.Fatalf("%s is loaded, and others that wait are in memory", m)
	}
	s.left[s.turn] = s.now
	s.turn, s.loading, s.loaded = core.ModelName{}, m, s.now
	if !fits(m) {
		s.loaded = s.now.Add(s.costs[m].Load)
	}
}

func (s *site) linger(until time.Time) {
	others := s.waitingFor(s.isOther)
	switch {
	case len(others) == 0 || len(s.waiting) > len(others) || len(s.running) > 0:
		s.Fatalf("it lingers while %d of %d wait for others and %d run", len(others), len(s.waiting), len(s.running))
	case s.room == 1 && s.idled+until.Sub(s.now) > s.rules.Linger:
		s.Fatalf("it lingers for %s after %s", until.Sub(s.now), s.idled)
	case !until.After(s.now):
		s.Fatalf("it lingers until %s, and it is %s", until, s.now)
	}
	s.lingers, s.idle = until, s.now
}

// checkWait checks that there was nothing to do.
func (s *site) checkWait() {
	if s.loading != (core.ModelName{}) || len(s.running) >= s.rules.Parallel {
		return
	}
	mine, others := s.waitingFor(s.isTurn), s.waitingFor(s.isOther)
	if len(s.running) == 0 && len(s.waiting) > 0 || len(mine) > 0 && len(others) == 0 {
		s.Fatalf("%d wait for %s and %d for others, %d run, and nothing happens", len(mine), s.turn, len(others), len(s.running))
	}
}
