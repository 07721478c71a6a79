package jobs

import (
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// mostRest is the longest that the breaker holds everything back while nobody
// has looked at the target.
const mostRest = 10 * time.Second

// A breaker keeps jobs from a target that one of them couldn't reach, until a
// look at it succeeds: else the poller would take some seconds to see that it
// is away, and in that time each job that waits would try, fail, and lose its
// place. If no look comes it lets jobs through after a while, longer each time.
type breaker struct {
	mu    sync.Mutex
	fault time.Time // of the last job; zero if a later one got an answer
	rest  time.Duration
}

func (b *breaker) trip() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = time.Now()
	b.rest = min(max(leastPause, 2*b.rest), mostRest)
}

func (b *breaker) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault, b.rest = time.Time{}, 0
}

// allows reports whether a job may go to the target that s shows, and if not,
// when it may if no look comes.
func (b *breaker) allows(s *core.Snapshot) (ok bool, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	looked := s.LastPoll.Fault == nil && s.LastPoll.At.After(b.fault)
	at = b.fault.Add(b.rest)
	return b.fault.IsZero() || looked || !time.Now().Before(at), at
}
