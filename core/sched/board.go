package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// A Board is what the queue looks like at a moment.
type Board struct {
	Turn     core.ModelName // the model that runs; the zero name if none, as during a swap
	Swapping core.ModelName // what a swap under way brings
	Idle     time.Time      // until when the target idles for Turn's next request; zero if it doesn't
	Running  []Request      // in the order of their start
	Waiting  []Request      // in the order to come
	Swaps    int            // loads to come until all of it has run, without the one under way
}

// Board foresees the order in which everything starts if nothing else comes
// and every stint lasts until its model has no more work.
func (q *Queue) Board(now time.Time) Board {
	b := Board{Idle: q.idlesUntil(now), Running: slices.Clone(q.running), Waiting: make([]Request, 0, len(q.waiting))}
	turns := slices.DeleteFunc(slices.Clone(q.models), func(m *model) bool { return !m.waits() })
	first, last := q.swapping, q.turn
	switch {
	case q.swapping != nil:
		b.Swapping = q.swapping.name
	case q.turn != nil:
		b.Turn = q.turn.name
		if q.hasTurn(now) {
			first, last = q.turn, nil
		}
	}
	guests := q.guestsMay(now)
	place := func(m *model) int {
		switch {
		case m == first:
			return 0
		case m == last:
			return 3
		case guests && q.isResident(m):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(turns, func(a, b *model) int {
		return cmp.Or(place(a)-place(b), a.rank(q.rules.MaxStint).Compare(b.rank(q.rules.MaxStint)))
	})
	for _, m := range turns {
		if m != first && (b.Swaps > 0 || !q.isResident(m)) { // a load may drop what is in memory
			b.Swaps++
		}
		copied := *m
		for i := range copied.lanes {
			copied.lanes[i] = slices.Clone(m.lanes[i]) // take clears what it leaves behind
		}
		for copied.waits() {
			b.Waiting = append(b.Waiting, copied.take(now, q.rules.MaxStint).Request)
		}
	}
	return b
}
