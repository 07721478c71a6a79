package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core/api"
)

func TestTry(t *testing.T) {
	cantTellYet := fmt.Errorf("%w: nobody there", errCantTell)
	notAllowed := fmt.Errorf("%w: no token", api.ErrNotAllowed)
	for name, test := range map[string]struct {
		wait    time.Duration
		answers []error // errNo, nil for yes; the last one repeats
		want    error
		took    time.Duration
	}{
		"yes at once":         {time.Minute, []error{nil}, nil, 0},
		"no, without waiting": {0, []error{errNo, nil}, errNo, 0},
		"yes in the end":      {time.Minute, []error{cantTellYet, errNo, nil}, nil, 2 * time.Second},
		"no until it is over": {2500 * time.Millisecond, []error{errNo}, errNo, 2500 * time.Millisecond},
		"nobody ever there":   {time.Second, []error{cantTellYet}, errCantTell, time.Second},
		"not let in":          {time.Minute, []error{notAllowed, nil}, api.ErrNotAllowed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				last, err := try(t.Context(), test.wait, func() (error, bool, error) {
					answer := test.answers[0]
					if len(test.answers) > 1 {
						test.answers = test.answers[1:]
					}
					if answer == errNo {
						return answer, false, nil
					}
					return nil, answer == nil, answer
				})
				if got := errors.Join(last, err); !errors.Is(got, test.want) {
					t.Errorf("the answer is %v, want %v", got, test.want)
				}
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
			})
		})
	}
}

func TestTryEndsWhenInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(1500*time.Millisecond, cancel)
		began := time.Now()
		_, err := try(ctx, time.Minute, func() (any, bool, error) { return nil, false, nil })
		if !errors.Is(err, context.Canceled) || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("it ended with %v after %v", err, time.Since(began))
		}
	})
}
