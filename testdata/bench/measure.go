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
	sides, err := alternate(ctx, rounds, ours, theirs)
	if err != nil {
		return comparison{}, err
	}
	return compare(sides[0], sides[1]), nil
}

// alternate measures all sides in turn, and returns the rounds of each.
func alternate(ctx context.Context, rounds int, sides ...func() (time.Duration, error)) ([][]time.Duration, error) {
	all := make([][]time.Duration, len(sides))
	for range rounds {
		for i, side := range sides {
			took, err := side()
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], took)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func compare(ours, theirs []time.Duration) comparison {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = float64(ours[i]) / float64(theirs[i])
	}
	return comparison{median(ours), median(theirs), median(ratios)}
}

// median leaves all as it is.
func median[T cmp.Ordered](all []T) T {
	return slices.Sorted(slices.Values(all))[len(all)/2]
}

// slowestButOne in a hundred is the 99th percentile.
func slowestButOne[T cmp.Ordered](all []T) T {
	return slices.Sorted(slices.Values(all))[(len(all)*99+99)/100-1]
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
