package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// A heart gives a target's signs of life. One that stands still lets a probe
// wait in vain.
type heart struct {
	still atomic.Bool
	beats atomic.Int32 // how often it was asked
}

func (h *heart) probe(ctx context.Context) error {
	h.beats.Add(1)
	if !h.still.Load() {
		return nil
	}
	<-ctx.Done()
	return &core.Fault{Reason: core.ReasonTimeout, Detail: "no answer in time"}
}

func (h *heart) options(o *setup) { o.Probe = h.probe }

// noticed is the longest that a target may be gone before its caller learns;
// what the wire adds to it is for others to measure.
const noticed = 13 * time.Second

// line writes a chunk.
func line(w http.ResponseWriter) {
	fmt.Fprintln(w, "{}")
	flush(w)
}

func TestAColdLoadIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, h := 0, new(heart)
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			time.Sleep(9 * time.Minute)
			line(w)
		}), h.options, retryFor(time.Minute))
		began := time.Now()
		f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}")
		if took := time.Since(began); took != 9*time.Minute || requests != 1 {
			t.Errorf("%d requests, %v", requests, took)
		}
		asked := h.beats.Load()
		if asked < 100 || asked > 200 {
			t.Errorf("the target was asked %d times in 9 minutes whether it lives", asked)
		}
		time.Sleep(time.Hour)
		if h.beats.Load() != asked {
			t.Error("and after its answer still")
		}
	})
}

// The target lives, but has forgotten the request.
func TestSilenceHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := atomic.Int32{}
		f := start(t, tiny(), listens(func(_ http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			<-r.Context().Done()
		}), new(heart).options, retryFor(time.Minute))
		began := time.Now()
		f.do("POST", "/api/chat", asksTiny).says(t, 503, `{"error":"foreman can't reach its target: timeout"}`)
		if took := time.Since(began); took < 10*time.Minute || took > 10*time.Minute+3*time.Second || requests.Load() != 1 {
			t.Errorf("given up after %v and %d requests", took, requests.Load())
		}
	})
}

func TestATargetThatFreezesBeforeItsFirstByteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, freed := new(heart), make(chan time.Duration, 1)
		h.still.Store(true)
		began := time.Now()
		f := start(t, tiny(), listens(func(w http.ResponseWriter, r *http.Request) {
			if h.still.Load() {
				<-r.Context().Done()
				freed <- time.Since(began)
				h.still.Store(false)
				return
			}
			line(w)
		}), h.options, retryFor(time.Minute))
		f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}")
		if took := <-freed; took > noticed {
			t.Errorf("noticed after %v", took)
		}
		if took := time.Since(began); took > noticed+time.Second {
			t.Errorf("answered after %v", took)
		}
	})
}

func TestAFrozenTargetIsGivenUp(t *testing.T) {
	for _, wait := range []time.Duration{0, 5 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			h := new(heart)
			h.still.Store(true)
			f := start(t, tiny(), listens(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), h.options, retryFor(wait))
			began := time.Now()
			f.do("POST", "/api/chat", asksTiny).says(t, 503, `{"error":"foreman can't reach its target: timeout"}`)
			if took := time.Since(began); took > wait+noticed {
				t.Errorf("after %v of %v", took, wait)
			}
		})
	}
}

// A load of minutes doesn't use up the time to wait for the target's return.
func TestATargetThatGoesAwayDuringALoadIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		var f *foreman
		f = start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests == 1 {
				time.Sleep(5 * time.Minute)
				f.leave()
				time.AfterFunc(30*time.Second, func() { f.away.Store(nil) })
				panic(http.ErrAbortHandler)
			}
			line(w)
		}), retryFor(time.Minute))
		f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}")
		if requests != 2 {
			t.Errorf("%d requests", requests)
		}
	})
}

func TestATargetThatFreezesInMidStreamIsNoticed(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 2999 * time.Millisecond, 3 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			h, frozen, freed := new(heart), make(chan time.Time, 1), make(chan time.Time, 1)
			f := start(t, tiny(), listens(func(w http.ResponseWriter, r *http.Request) {
				for began := time.Now(); time.Since(began) < after; time.Sleep(900 * time.Millisecond) {
					line(w)
				}
				line(w)
				h.still.Store(true)
				frozen <- time.Now()
				<-r.Context().Done()
				freed <- time.Now()
			}), h.options, retryFor(time.Minute))
			resp, err := f.chat()
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the caller sees %v", err)
			}
			at := <-frozen
			if took := time.Since(at); took > noticed {
				t.Errorf("the caller learns after %v", took)
			}
			if took := (<-freed).Sub(at); took > noticed {
				t.Errorf("the target is held for %v", took)
			}
		})
	}
}

func TestALongPauseDoesNotCutAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(9 * time.Minute)
			flush(w) // the header
			for range 6 {
				time.Sleep(9 * time.Minute)
				line(w)
			}
		}), new(heart).options)
		began := time.Now()
		if got := f.do("POST", "/api/chat", asksTiny); got.body != "{}\n{}\n{}\n{}\n{}\n{}\n" || time.Since(began) != 63*time.Minute {
			t.Errorf("%q after %v", got.body, time.Since(began))
		}
	})
}

// Only a target that can't be reached is gone: a plugin that is down can't
// tell, and an answer is a sign of life whatever it says.
func TestWhatIsNoReasonToCut(t *testing.T) {
	for _, err := range []error{
		core.ErrUnavailable,
		fmt.Errorf("probe: %w", core.ErrNoAnswer),
		&core.Fault{Reason: core.ReasonPlugin},
		&core.Fault{Reason: core.StatusReason(500)},
		&core.Fault{Reason: core.ReasonWrongTarget},
		errors.New("this backend can't"),
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(5 * time.Minute)
				line(w)
				time.Sleep(5 * time.Minute)
			}), func(o *setup) { o.Probe = func(context.Context) error { return err } })
			if got := f.do("POST", "/api/chat", asksTiny); got.status != 200 || got.body != "{}\n" {
				t.Errorf("%v: %d %s", err, got.status, got.body)
			}
		})
	}
}

func TestWhatIsReasonToCut(t *testing.T) {
	for _, reason := range []core.Reason{
		core.ReasonRefused, core.ReasonTimeout, core.ReasonReset, core.ReasonNoRoute, core.ReasonDNS,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, tiny(), listens(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
				func(o *setup) {
					o.Probe = func(context.Context) error { return &core.Fault{Reason: reason} }
				})
			began := time.Now()
			f.do("POST", "/api/chat", asksTiny).says(t, 503, `{"error":"foreman can't reach its target: timeout"}`)
			if took := time.Since(began); took > noticed {
				t.Errorf("%s: after %v", reason, took)
			}
		})
	}
}

func TestOneMissedProbeCutsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Minute)
			line(w)
		}), func(o *setup) {
			o.Probe = func(context.Context) error {
				if probes++; probes%2 == 0 {
					return nil
				}
				return &core.Fault{Reason: core.ReasonTimeout}
			}
		})
		f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}")
	})
}

// A target may be too busy with its answer to give any other sign of life.
func TestBytesAreASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(heart)
		h.still.Store(true)
		const chunks = 200
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			for range chunks {
				time.Sleep(10 * time.Second) // later than the second probe, before its end
				line(w)
			}
		}), h.options)
		if got := f.do("POST", "/api/chat", asksTiny); len(got.body) != chunks*len("{}\n") {
			t.Errorf("cut after %d bytes", len(got.body))
		}
	})
}

func TestAllWhoWaitShareTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(heart)
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Minute)
			line(w)
		}), h.options)
		var callers sync.WaitGroup
		for range 100 {
			time.Sleep(37 * time.Millisecond)
			callers.Go(func() { f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}") })
		}
		callers.Wait()
		if asked := h.beats.Load(); asked < 20 || asked > 70 {
			t.Errorf("%d probes in a minute", asked)
		}
	})
}
