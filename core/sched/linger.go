package sched

import "time"

// Who has just had an answer often asks again: an agent that ran a tool, a
// person who read. To swap models in that pause costs two loads, one now and
// one when they are back; not to swap costs the pause. So the target lingers
// for the model that has the turn and has run dry, though others wait:
//
//   - if its last pauses were such as fit in what is left of Rules.Linger,
//     and for three times as long at most;
//   - for Linger in all in a stint, so that where nobody comes a swap costs a
//     load and Linger. If Linger is what two loads take, the target idles at
//     most about as long as it would load if it swapped every time;
//   - while few callers wait on the line: for a crowd's work the loads are
//     worth it, and its waits add up;
//   - while the stint may last, so that the bounds on waits stay as they are;
//   - not before a model that is in memory: to swap to that is free.

// crowd is how many callers on the line are too many to idle for.
const crowd = 11

// A pause is the time from the end of a model's work to its next request.
type pause struct {
	began time.Time     // zero before the model's first run
	mean  time.Duration // of the past ones, each half the weight of the next
}

// end notes that the model's next request came at arrival. Pauses too long to
// linger for are all alike, lest a night count against a morning.
func (p *pause) end(arrival time.Time, linger time.Duration) {
	if p.began.IsZero() || arrival.Before(p.began) {
		return // it came earlier, and was handed in again or late
	}
	length := min(arrival.Sub(p.began), 2*linger)
	if p.mean == 0 {
		p.mean = length
	}
	p.mean = (p.mean + length) / 2
}

// lingerUntil is until when to wait for the model that has the turn before a
// swap to next; not after now if that is due.
func (q *Queue) lingerUntil(next *model, now time.Time) time.Time {
	if q.turn == nil || q.turn.waits() || q.isResident(next) || q.crowded() {
		return now
	}
	left, pause := q.rules.Linger-q.stint.idled, q.turn.pause
	if q.stint.idle.IsZero() {
		if pause.mean > left {
			return now
		}
		q.stint.idle = now
	}
	return earliest(q.stint.idle.Add(left), pause.began.Add(3*pause.mean), q.over(q.isOther))
}

func (q *Queue) crowded() bool {
	callers := 0
	for _, w := range q.waiting {
		if w.Interactive {
			callers++
		}
	}
	return callers >= crowd
}

// idlesUntil is until when the target idles for the model that has the turn;
// zero if it doesn't.
func (q *Queue) idlesUntil(now time.Time) time.Time {
	if q.stint.idle.IsZero() || q.swapping != nil || len(q.running) > 0 {
		return time.Time{}
	}
	next, _ := q.next(now)
	if next == nil {
		return time.Time{}
	}
	if until := q.lingerUntil(next, now); until.After(now) {
		return until
	}
	return time.Time{}
}

// lingered ends the wait for the model that has the turn, if there is one.
func (q *Queue) lingered(now time.Time) {
	if !q.stint.idle.IsZero() {
		q.stint.idled += now.Sub(q.stint.idle)
		q.stint.idle = time.Time{}
	}
}

func earliest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
