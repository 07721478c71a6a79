package sched

import (
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Cost is what a model takes at most.
type Cost struct {
	Load time.Duration // from the end of the last run of another to its first start
	Run  time.Duration // of one request
}

// TurnBound is the longest that work of priority p waits for a turn of its
// model, which takes load, while others have work too:
//
//	levels above p × MaxStint  +  Σ others (Load + MaxStint + Run)  +  load
//
// For a model that lost its turn waits anew, and so each of the others goes
// before it once; but those of higher priority may do so again until their
// head start is used up.
//
// Where several models fit in memory each Run is that of the slowest, for it
// may be a guest's, and others has one more Cost{Run}, for the guests of the
// model's own last stint.
func (r Rules) TurnBound(p core.Priority, load time.Duration, others []Cost) time.Duration {
	bound := time.Duration(core.PriorityHigh-p)*r.MaxStint + load
	for _, c := range others {
		bound += c.Load + r.MaxStint + c.Run
	}
	return bound
}

// WaitBound is the longest that a request of priority p waits for its start,
// if ahead requests of its model are older:
//
//	MaxStint  +  (starts + 1) × Run  +  turns × TurnBound
//
// It is outranked for MaxStint; from then on every fourth start of its model
// is of a request at least as old, which makes 4 × (ahead + 1) starts; a turn
// that ends by MaxStint has as many of them as fill MaxStint, and the one that
// is under way may have none left.
func (r Rules) WaitBound(p core.Priority, own Cost, others []Cost, ahead int) time.Duration {
	starts := share * (ahead + 1)
	bound := r.MaxStint + time.Duration(starts+1)*own.Run
	if len(others) == 0 {
		return bound + own.Load
	}
	aTurn := 1 // how many starts it has, rounded up
	if own.Run > 0 {
		aTurn = max(1, int((r.MaxStint+own.Run-1)/own.Run))
	} else {
		aTurn = starts
	}
	turns := (starts + aTurn - 1) / aTurn
	return bound + time.Duration(turns)*r.TurnBound(p, own.Load, others)
}
