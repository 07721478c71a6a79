package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-af7fee88/foreman/core/api"
)

// tryEvery is the time between two tries. A daemon looks at its target no
// more often for those who ask.
const tryEvery = time.Second

// waitFlag is for a command that may wait for a yes.
type waitFlag struct {
	Wait time.Duration `help:"Try again until the answer is yes, or this long." placeholder:"30s" env:"FOREMAN_WAIT"`
}

// Validate implements kong's interface.
func (f waitFlag) Validate() error {
	if f.Wait < 0 {
		return fmt.Errorf("--wait is %s, below 0", f.Wait)
	}
	return nil
}

// try returns what attempt last said: its first yes, or whatever it says when
// the time is over. A source that can't tell may yet learn, so it is asked
// again; one that lets nobody in is not.
func try[T any](ctx context.Context, wait time.Duration, attempt func() (answer T, yes bool, err error)) (T, error) {
	over := time.Now().Add(wait)
	for {
		answer, yes, err := attempt()
		left := time.Until(over)
		switch {
		case !yes && ctx.Err() != nil: // whoever interrupts it wants no answer
			return answer, ctx.Err()
		case yes, left <= 0, err != nil && !mayLearn(err):
			return answer, err
		}
		timer := time.NewTimer(min(tryEvery, left))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return answer, ctx.Err()
		}
	}
}

func mayLearn(err error) bool {
	return errors.Is(err, errCantTell) && !errors.Is(err, api.ErrNotAllowed)
}
