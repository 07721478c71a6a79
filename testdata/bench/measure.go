package main

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"
)

// A comparison is the medians of both sides of an interleaved measurement.
// ratio is the median of the rounds' own ratios: what else the machine does
// comes and goes, and hits both sides of a round.
type comparison struct {
	ours, theirs time.Duration
	ratio        float64 // ours to theirs
}

// interleaved measures ours and theirs in turn.
func interleaved(ctx context.Context, rounds int, ours, theirs func() (time.Duration, error)) (comparison, error) {
	var a, b []time.Duration
	var ratios []float64
	for range rounds {
		x, err := ours()
		if err != nil {
			return comparison{}, err
		}
		y, err := theirs()
		if err != nil {
			return comparison{}, err
		}
		if err := ctx.Err(); err != nil {
			return comparison{}, err
		}
		a, b, ratios = append(a, x), append(b, y), append(ratios, float64(x)/float64(y))
	}
	return comparison{median(a), median(b), median(ratios)}, nil
}

// median sorts all.
func median[T cmp.Ordered](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// timed measures how long f takes.
func timed(f func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		began := time.Now()
		err := f()
		return time.Since(began), err
	}
}

// timedAlone is timed on a heap that holds no garbage of others.
func timedAlone(f func() error) func() (time.Duration, error) {
	run := timed(f)
	return func() (time.Duration, error) {
		runtime.GC()
		return run()
	}
}
