package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// share is how many starts of a model it takes at most until one is of its
// oldest request, once that has waited for MaxStint.
const share = 4

const levels = 3 // of priority

// A model is the work that waits for it.
type model struct {
	name   core.ModelName
	lanes  [2 * levels]lane // in the order of rank
	left   time.Time        // when it last lost its turn
	passed int              // starts since one was of the oldest request
	pause  pause            // the last one
}

// A lane is waiters of equal rank, the oldest first.
type lane []*waiter

type waiter struct {
	Request
	seq uint64 // orders those that arrived at the same time
}

func byArrival(a, b *waiter) int {
	return cmp.Or(a.Arrived.Compare(b.Arrived), cmp.Compare(a.seq, b.seq))
}

func (m *model) lane(r Request) *lane {
	rank := int(core.PriorityHigh - r.Priority)
	if !r.Interactive {
		rank += levels
	}
	return &m.lanes[rank]
}

func (m *model) add(w *waiter) {
	l := m.lane(w.Request)
	i, _ := slices.BinarySearchFunc(*l, w, byArrival)
	*l = slices.Insert(*l, i, w)
}

func (m *model) remove(w *waiter) {
	l := m.lane(w.Request)
	i, _ := slices.BinarySearchFunc(*l, w, byArrival)
	if i > 0 {
		*l = slices.Delete(*l, i, i+1)
		return
	}
	(*l)[0] = nil // the usual end: nothing has to move
	*l = (*l)[1:]
}

func (m *model) waits() bool { return m.oldest() != nil }

// oldest is the waiter that arrived first, or nil.
func (m *model) oldest() *waiter {
	var first *waiter
	for _, l := range m.lanes {
		if len(l) > 0 && (first == nil || byArrival(l[0], first) < 0) {
			first = l[0]
		}
	}
	return first
}

// best is the waiter of the highest rank, or nil.
func (m *model) best() *waiter {
	for _, l := range m.lanes {
		if len(l) > 0 {
			return l[0]
		}
	}
	return nil
}

// take removes the waiter that is to start.
func (m *model) take(now time.Time, maxStint time.Duration) *waiter {
	oldest, w := m.oldest(), m.best()
	if m.passed >= share-1 && now.Sub(oldest.Arrived) >= maxStint {
		w = oldest
	}
	m.passed++
	if w == oldest {
		m.passed = 0
	}
	m.remove(w)
	return w
}

// since is when w began to wait for m's next turn.
func (m *model) since(w *waiter) time.Time { return later(w.Arrived, m.left) }

// rank orders models that have work, the earliest first: when the work began
// to wait, a level of priority counting as one MaxStint.
func (m *model) rank(maxStint time.Duration) time.Time {
	var first time.Time
	found := false
	for _, l := range m.lanes {
		if len(l) == 0 {
			continue
		}
		rank := m.since(l[0]).Add(-time.Duration(l[0].Priority) * maxStint)
		if !found || rank.Before(first) {
			first, found = rank, true
		}
	}
	return first
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
