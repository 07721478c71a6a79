// Package sched decides whose turn it is on a target that serves one worker
// model at a time, where to load another costs seconds.
//
// A [Queue] holds what waits and what runs, and says what to do next. It has
// no clock, lock or goroutine: its owner tells it what happens and when, asks
// [Queue.Next] after each event until the answer is [Wait], and does what it
// says. A [Scheduler] is that owner, in the goroutine of its Run:
//
//	        Next: Start           Done
//	waiting ───────────► running ──────►        a request; Leave takes it out while it waits
//
//	       Next: Swap            Resident
//	turn ─────────────► swapping ────────► turn of another model
//
// The rules, in their order:
//
//   - A stint begins when a model gets its turn. While it has work waiting,
//     it keeps its turn; but not longer than MaxStint after another model's
//     work began to wait. A turn starts one request at least.
//   - Then, and as soon as nothing for it waits, the model is next whose work
//     has waited longest since the model last had its turn. A level of
//     priority counts as one MaxStint of waiting. A swap begins when nothing
//     runs, and at once unless the next request for a model that has just run
//     dry is likely to come within Linger, and no crowd waits.
//   - If that model would have to be loaded, others that are in memory and
//     have work go before it as guests, as long as the stint may last. They
//     keep their place in the order.
//   - Within a model callers who wait on the line go before jobs, then high
//     before normal before low priority, then first come, first served. Once
//     its oldest request has waited for MaxStint, one start in four is the
//     oldest's, so that nothing waits for ever behind better ranks.
//
// What wait follows from this at most is in [Rules.TurnBound] and
// [Rules.WaitBound]. Models that live beside the worker model don't queue.
package sched

import (
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Rules are the policy's settings.
type Rules struct {
	Parallel int           // requests that one model runs at once
	MaxStint time.Duration // how long a model that has work keeps others waiting
	Linger   time.Duration // of that, how long the target may idle for the model's next request; may be 0
}

// A Request is a call or a job that wants a turn.
type Request struct {
	ID          string // unique among what waits and runs
	Model       core.ModelName
	Name        string // of the model, as the caller wrote it
	Caller      string // whose it is, for people to read
	Priority    core.Priority
	Interactive bool // somebody waits on the line
	Arrived     time.Time
}

// A Step is what the owner does next.
type Step struct {
	Do      Action
	Request Request        // to Start; it counts as running until Done
	Model   core.ModelName // to Swap to; the queue waits for Resident
	Until   time.Time      // when to ask again if nothing happens until then; zero for never
}

// An Action is the kind of a [Step].
type Action int

// The actions.
const (
	Wait  Action = iota // nothing until the next event, or Step.Until
	Start               // run Step.Request, whose model has the turn
	Swap                // give Step.Model its turn, which may load it
)

// A Queue orders requests. One goroutine owns it.
type Queue struct {
	rules    Rules
	models   []*model // in the order in which they were first named; kept, for when each had its turn
	byName   map[core.ModelName]*model
	waiting  map[string]*waiter // by ID
	running  []Request          // in the order of their start
	resident []core.ModelName   // what is in memory, as far as the owner knows
	seq      uint64             // of the latest waiter

	turn     *model // whose turn it is, or was until the swap; nil at the start
	swapping *model // whose turn comes once the owner says what is resident
	guest    bool   // it will be one
	stint    stint
}

// A stint is the time of the model that has the turn, and of its guests.
type stint struct {
	began  time.Time
	starts int           // since the model that has the turn got it
	guest  bool          // that model goes before another that has waited longer
	idle   time.Time     // since when it lingers; zero if it doesn't
	idled  time.Duration // how long it has lingered, until then
}

// maxModels is how many models without work a queue remembers.
const maxModels = 256

// NewQueue returns a queue with nothing in it and no model resident.
func NewQueue(rules Rules) *Queue {
	return &Queue{rules: rules, byName: map[core.ModelName]*model{}, waiting: map[string]*waiter{}}
}

// Add puts r in the queue. It reports false, and does nothing, if r's ID
// waits or runs already.
//
// Of the requests of one model that are alike in Interactive and Priority, the
// queue looks only at the oldest: an owner with very many may hold back all
// but the oldest few of each kind.
func (q *Queue) Add(r Request) bool {
	if q.waiting[r.ID] != nil || q.isRunning(r.ID) {
		return false
	}
	q.seq++
	w := &waiter{Request: r, seq: q.seq}
	q.waiting[r.ID] = w
	m := q.model(r.Model)
	if !m.waits() && !q.runs(m) {
		m.pause.end(r.Arrived, q.rules.Linger)
	}
	m.add(w)
	return true
}

// Waits reports whether any request for a model waits.
func (q *Queue) Waits(name core.ModelName) bool {
	m := q.byName[name]
	return m != nil && m.waits()
}

// Leave takes out a request that still waits, and reports whether it did.
func (q *Queue) Leave(id string) bool {
	w := q.waiting[id]
	if w == nil {
		return false
	}
	delete(q.waiting, id)
	q.model(w.Model).remove(w)
	return true
}

// Done says that a running request has ended, however it did, and reports
// whether it ran.
func (q *Queue) Done(id string, now time.Time) bool {
	i := slices.IndexFunc(q.running, func(r Request) bool { return r.ID == id })
	if i < 0 {
		return false
	}
	m := q.model(q.running[i].Model)
	q.running = slices.Delete(q.running, i, i+1)
	if !q.runs(m) {
		m.pause.began = now
	}
	return true
}

// Resident says which models are in memory. A model that has the turn and
// isn't among them loses it.
//
// It ends a swap: the model gets its turn if it is among them. Otherwise Next
// decides anew, from what is resident now, and may say the same again. An
// owner that has just looked then tells that the model is resident: its first
// request loads it.
func (q *Queue) Resident(names []core.ModelName, now time.Time) {
	q.resident = slices.Clone(names)
	next := q.swapping
	q.swapping = nil
	switch {
	case next != nil && q.isResident(next):
		q.turn = next
		if !q.guest {
			q.stint = stint{began: now}
		}
		q.stint.starts, q.stint.guest = 0, q.guest
	case q.turn != nil && !q.isResident(q.turn):
		q.leaveTurn(now)
		q.turn = nil
	}
}

// leaveTurn lets the model that has the turn wait anew, unless it was a guest.
func (q *Queue) leaveTurn(now time.Time) {
	if q.turn != nil && !q.stint.guest {
		q.turn.left = now
	}
}

// SetRules changes the settings, from the next step on.
func (q *Queue) SetRules(rules Rules) { q.rules = rules }

// Next takes the next step, and returns it for the owner to carry out.
func (q *Queue) Next(now time.Time) Step {
	if q.swapping != nil {
		return Step{}
	}
	if q.hasTurn(now) {
		if len(q.running) >= q.rules.Parallel || q.othersRun() {
			return Step{}
		}
		w := q.turn.take(now, q.rules.MaxStint)
		delete(q.waiting, w.ID)
		q.running = append(q.running, w.Request)
		q.stint.starts++
		q.lingered(now)
		return Step{Do: Start, Request: w.Request}
	}
	if len(q.running) > 0 {
		return Step{}
	}
	next, guest := q.next(now)
	if next == nil {
		q.lingered(now)
		return Step{}
	}
	if until := q.lingerUntil(next, now); until.After(now) {
		return Step{Until: until}
	}
	q.leaveTurn(now)
	q.swapping, q.guest = next, guest
	return Step{Do: Swap, Model: next.name}
}

// hasTurn reports whether the model that has the turn has work and may go on
// with it.
func (q *Queue) hasTurn(now time.Time) bool {
	if q.turn == nil || !q.turn.waits() {
		return false
	}
	return q.stint.starts == 0 || now.Before(q.over(q.isOther))
}

func (q *Queue) isOther(m *model) bool { return m != q.turn }

// never is later than anything that happens.
var never = time.Unix(1<<40, 0)

// over is when work of the models that which selects has waited for MaxStint
// in this stint.
func (q *Queue) over(which func(*model) bool) time.Time {
	over := never
	for _, m := range q.models {
		if m.waits() && which(m) {
			over = earliest(over, later(m.since(m.oldest()), q.stint.began).Add(q.rules.MaxStint))
		}
	}
	return over
}

// next is the model to swap to, or nil if no other has work, and whether it
// goes before one that has waited longer.
func (q *Queue) next(now time.Time) (next *model, guest bool) {
	next = q.longestWaiting(q.isOther)
	if next == nil || q.isResident(next) || !q.guestsMay(now) {
		return next, false
	}
	if first := q.longestWaiting(func(m *model) bool { return q.isOther(m) && q.isResident(m) }); first != nil {
		return first, true
	}
	return next, false
}

// guestsMay reports whether what is in memory may go before what isn't.
func (q *Queue) guestsMay(now time.Time) bool {
	return now.Before(q.over(func(m *model) bool { return !q.isResident(m) }))
}

// longestWaiting is the first of the models that which selects and that have
// work, or nil.
func (q *Queue) longestWaiting(which func(*model) bool) *model {
	var first *model
	for _, m := range q.models {
		if m.waits() && which(m) && (first == nil || m.rank(q.rules.MaxStint).Before(first.rank(q.rules.MaxStint))) {
			first = m
		}
	}
	return first
}

// othersRun reports whether what runs isn't all of the model that has the
// turn, as when another was found to be resident.
func (q *Queue) othersRun() bool {
	return slices.ContainsFunc(q.running, func(r Request) bool { return r.Model != q.turn.name })
}

func (q *Queue) isRunning(id string) bool {
	return slices.ContainsFunc(q.running, func(r Request) bool { return r.ID == id })
}

func (q *Queue) runs(m *model) bool {
	return slices.ContainsFunc(q.running, func(r Request) bool { return r.Model == m.name })
}

func (q *Queue) isResident(m *model) bool { return slices.Contains(q.resident, m.name) }

func (q *Queue) model(name core.ModelName) *model {
	m := q.byName[name]
	if m == nil {
		q.forget()
		m = &model{name: name}
		q.byName[name] = m
		q.models = append(q.models, m)
	}
	return m
}

// forget drops models without work if there are very many, as when somebody
// makes names up.
func (q *Queue) forget() {
	if len(q.models) < maxModels {
		return
	}
	q.models = slices.DeleteFunc(q.models, func(m *model) bool {
		idle := !m.waits() && m != q.turn && m != q.swapping
		if idle {
			delete(q.byName, m.name)
		}
		return idle
	})
}
