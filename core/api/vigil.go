package api

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// vigilEvery is how long a target may be silent before it is asked for a
	// sign of life beside the request, and how often then.
	vigilEvery   = 3 * time.Second
	vigilTimeout = 3 * time.Second // of a sign of life
	vigilMisses  = 2               // in a row mean that it is gone: noticed in 13 s at most
	// pulseLasts is how long one sign of life does for all who wait.
	pulseLasts = time.Second
	// mostSilence is the longest that a target may be silent though it gives
	// signs of life: Ollama itself gives up a load that stalls for 5 minutes.
	mostSilence = 10 * time.Minute
)

var (
	errGone   = &core.Fault{Reason: core.ReasonTimeout, Detail: "the target gives no sign of life"}
	errSlow   = errors.New("the target takes too long")
	errSilent = &core.Fault{Reason: core.ReasonTimeout, Detail: "the target lives but doesn't answer the request"}
)

// A vigil watches over one request, so that a model that takes minutes to
// load isn't taken for a target that is gone, nor the other way round. It
// cancels ctx with a [*core.Fault] once the target is gone.
type vigil struct {
	pulse  *pulse
	ctx    context.Context // of the request: a timer calls look, which has no caller to give one
	cancel context.CancelCauseFunc

	began  time.Time
	last   atomic.Int64 // when bytes came last, in ns since began
	misses int          // written by look, whose calls follow each other

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
}

func (v *vigil) begin() {
	v.began = time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.timer = time.AfterFunc(vigilEvery, v.look)
}

func (v *vigil) heard() { v.last.Store(int64(time.Since(v.began))) }

// end lets go of ctx, too.
func (v *vigil) end() {
	v.cancel(nil)
	if last := v.last.Load(); last > 0 {
		at := v.began.Add(time.Duration(last))
		v.pulse.spoke.Store(&at)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	v.timer.Stop()
}

func (v *vigil) again(wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.ended {
		v.timer.Reset(wait)
	}
}

func (v *vigil) look() {
	last := v.last.Load()
	silent := time.Since(v.began) - time.Duration(last)
	if silent < vigilEvery {
		v.misses = 0
		v.again(vigilEvery - silent)
		return
	}
	if silent >= mostSilence {
		v.cancel(errSilent)
		return
	}
	if v.pulse.check(v.ctx) == nil || v.last.Load() != last {
		v.misses = 0
	} else if v.misses++; v.misses == vigilMisses {
		v.cancel(errGone)
		return
	}
	v.again(vigilEvery)
}

// A pulse asks the target for signs of life, one at a time for all who wait.
type pulse struct {
	probe func(context.Context) error
	one   singleflight.Group
	lived atomic.Pointer[time.Time] // when the last sign of life came; written by check, one at a time
	spoke atomic.Pointer[time.Time] // when the target last said something in an exchange that has ended; written by any, the last counts
}

// check returns nil if the target lives, or if there is no way to ask: a
// plugin that is down says nothing about it.
func (p *pulse) check(ctx context.Context) error {
	if last := p.lived.Load(); last != nil && time.Since(*last) < pulseLasts {
		return nil
	}
	_, err, _ := p.one.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), vigilTimeout)
		defer cancel()
		err := p.probe(ctx)
		if err == nil {
			now := time.Now()
			p.lived.Store(&now)
			return nil, nil
		}
		switch core.FaultOf(err).Reason {
		case core.ReasonTimeout, core.ReasonRefused, core.ReasonReset, core.ReasonNoRoute, core.ReasonDNS:
			return nil, err
		default: // an answer, if a bad one, or none of the target's doing
			return nil, nil
		}
	})
	return err
}

// lastAfter is when the target last lived as far as one knows, or t if that
// was before.
func (p *pulse) lastAfter(t time.Time) time.Time {
	for _, last := range []*time.Time{p.lived.Load(), p.spoke.Load()} {
		if last != nil && last.After(t) {
			t = *last
		}
	}
	return t
}
