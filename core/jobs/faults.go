package jobs

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// roomLasts is how long the last job that couldn't be kept shows.
const roomLasts = 10 * time.Minute

// faults are why the store failed the last time that it was looked at, written
// to, and given a job; "" if it didn't. A disk that is full can be read all the
// same, and have room for little things.
type faults struct {
	mu                  sync.Mutex
	read, write, insert string
	inserted            time.Time // the last try
}

// StoreError is why the job store doesn't work at present, as far as the last
// uses of it tell; "" if it does.
func (j *Jobs) StoreError() string {
	j.faults.mu.Lock()
	defer j.faults.mu.Unlock()
	if time.Since(j.faults.inserted) > roomLasts { // nobody knows any more
		return cmp.Or(j.faults.write, j.faults.read)
	}
	return cmp.Or(j.faults.insert, j.faults.write, j.faults.read)
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
	if !isOfStore(ctx, err) {
		return err
	}
	j.faults.mu.Lock()
	defer j.faults.mu.Unlock()
	j.faults.write = textOf(err)
	return err
}

// inserted is wrote of a new job.
func (j *Jobs) inserted(ctx context.Context, err error) error {
	if !isOfStore(ctx, err) {
		return err
	}
	j.faults.mu.Lock()
	defer j.faults.mu.Unlock()
	j.faults.insert, j.faults.inserted = textOf(err), time.Now()
	if err == nil {
		j.faults.write = ""
	}
	return err
}

// isOfStore reports whether err, which may be nil, says how the store is.
func isOfStore(ctx context.Context, err error) bool {
	switch {
	case errors.Is(err, core.ErrJobConflict), errors.Is(err, core.ErrNoJob), errors.Is(err, core.ErrInvalidName):
		return false
	default:
		return err == nil || !errors.Is(ctx.Err(), context.Canceled) // else who asked has left
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
