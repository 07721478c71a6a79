package daemon

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleepIsNoticedByTheClocksDisagreeing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asleep atomic.Int64 // nanoseconds that the wall clock has gone on by
		var woken []time.Duration
		began := time.Now()
		watch := sleepWatch{
			read: func() clocks {
				return clocks{wall: time.Now().Add(time.Duration(asleep.Load())), monotonic: time.Since(began)}
			},
			woken: func(slept time.Duration) { woken = append(woken, slept) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- watch.run(ctx) }()

		time.Sleep(time.Hour)
		asleep.Add(int64(time.Second)) // a clock that is set, not a sleep
		time.Sleep(time.Hour)
		asleep.Add(int64(8 * time.Hour))
		time.Sleep(sleepCheck)
		synctest.Wait()
		asleep.Add(-int64(time.Hour)) // set back
		time.Sleep(time.Hour)
		cancel()
		<-done
		if !slices.Equal(woken, []time.Duration{8 * time.Hour}) {
			t.Errorf("noticed sleeps of %v, want the one of 8h", woken)
		}
	})
}
