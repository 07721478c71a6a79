package jobs

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/seed-af7fee88/foreman/core"
)

// faults are why the store failed the last time that it was looked at and
// written to; "" if it didn't. A disk that is full can be read all the same.
type faults struct {
	mu          sync.Mutex
	read, write string
}

// StoreError is why the job store doesn't work at present, as far as the last
// uses of it tell; "" if it does.
func (j *Jobs) StoreError() string {
	j.faults.mu.Lock()
	defer j.faults.mu.Unlock()
	return cmp.Or(j.faults.write, j.faults.read)
}

// looked notes how a look at the store went.
func (j *Jobs) looked(err error) {
	if errors.Is(err, context.Canceled) { // foreman stops
		return
	}
	j.faults.mu.Lock()
	defer j.faults.mu.Unlock()
	j.faults.read = textOf(err)
}

// wrote notes how a write to the store under ctx went, and returns err. A store
// that refuses what the job doesn't allow says nothing about itself.
func (j *Jobs) wrote(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, core.ErrJobConflict), errors.Is(err, core.ErrNoJob), errors.Is(err, core.ErrInvalidName):
		return err
	case err != nil && errors.Is(ctx.Err(), context.Canceled): // who asked has left
		return err
	}
	j.faults.mu.Lock()
	defer j.faults.mu.Unlock()
	j.faults.write = textOf(err)
	return err
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
