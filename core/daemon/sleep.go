package daemon

import (
	"context"
	"time"
)

const (
	sleepCheck = 15 * time.Second
	leastSleep = 5 * time.Second // what the clocks may differ by without a sleep
)

// clocks is a reading of both: the wall clock goes on while the machine
// sleeps, the monotonic one, and with it every timer, doesn't.
type clocks struct {
	wall      time.Time
	monotonic time.Duration
}

var start = time.Now()

func readClocks() clocks {
	now := time.Now()
	return clocks{wall: now.Round(0), monotonic: now.Sub(start)}
}

// sleepWatch tells when the machine has slept.
type sleepWatch struct {
	read  func() clocks
	woken func(slept time.Duration)
}

func (s sleepWatch) run(ctx context.Context) error {
	tick := time.NewTicker(sleepCheck)
	defer tick.Stop()
	last := s.read()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := s.read()
		if slept := now.wall.Sub(last.wall) - (now.monotonic - last.monotonic); slept >= leastSleep {
			s.woken(slept)
		}
		last = now
	}
}
