// Package replay puts a recorded day through the policy of core/sched, and
// through what to compare it with: first come, first served, and a
// clairvoyant that has seen the trace.
//
// All three have one target with one worker model at a time. What lives beside
// the worker model runs as it arrives, in all of them, and doesn't count.
package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// A Request is a line of a trace.
type Request struct {
	Arrival     time.Duration // since the first of the trace
	Model       core.ModelName
	Run         time.Duration
	Interactive bool
	Priority    core.Priority
	Beside      bool // its model lives beside the worker model
}

// A Trace is what came, in the order of arrival.
type Trace struct {
	Requests []Request
	Load     map[core.ModelName]time.Duration
}

// line is a Request in a file; times are seconds.
type line struct {
	Arrival     *float64      `json:"arrival"`
	Model       string        `json:"model"`
	Run         *float64      `json:"run"`
	Load        float64       `json:"load"` // 0 or left out where the model was loaded already
	Interactive bool          `json:"interactive"`
	Priority    core.Priority `json:"priority"`
	Beside      bool          `json:"beside"`
}

// The largest times, in seconds. They keep sums far from overflow, and let
// arrivals be Unix times.
const (
	lastArrival = 4e9
	longest     = 1e5 // load or run
)

// Read reads JSON lines such as
//
//	{"arrival":12.5,"model":"qwen3:14b","run":8.2,"load":14}
//
// with arrival (since whatever moment), run and load in seconds, and optionally
// interactive (false), priority ("normal") and beside (false). Empty lines are
// skipped, and the lines may have any order. A model's load is the median of
// those that its lines state. Errors name the file and the line.
func Read(r io.Reader, file string) (Trace, error) {
	trace := Trace{Load: map[core.ModelName]time.Duration{}}
	loads := map[core.ModelName][]time.Duration{}
	lines := bufio.NewScanner(r)
	n := 1
	for ; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		request, load, err := parse(lines.Bytes())
		if err != nil {
			return Trace{}, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		trace.Requests = append(trace.Requests, request)
		if load > 0 {
			loads[request.Model] = append(loads[request.Model], load)
		}
	}
	if err := lines.Err(); err != nil {
		return Trace{}, fmt.Errorf("%s:%d: %w", file, n, err)
	}
	if len(trace.Requests) == 0 {
		return Trace{}, fmt.Errorf("%s: no requests in it", file)
	}
	for name, all := range loads {
		slices.Sort(all)
		trace.Load[name] = all[len(all)/2]
	}
	trace.sort()
	return trace, nil
}

// sort brings the requests in order and lets the first arrive at 0.
func (t Trace) sort() {
	slices.SortStableFunc(t.Requests, func(a, b Request) int { return cmp.Compare(a.Arrival, b.Arrival) })
	first := t.Requests[0].Arrival
	for i := range t.Requests {
		t.Requests[i].Arrival -= first
	}
}

func parse(text []byte) (Request, time.Duration, error) {
	var l line
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil {
		return Request{}, 0, fmt.Errorf("not a request: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Request{}, 0, errors.New("more than one object on the line")
	}
	if l.Arrival == nil || l.Run == nil {
		return Request{}, 0, errors.New("arrival and run must both be stated, in seconds")
	}
	if err := cmp.Or(within("arrival", *l.Arrival, lastArrival), within("run", *l.Run, longest), within("load", l.Load, longest)); err != nil {
		return Request{}, 0, err
	}
	model, err := core.ParseModelName(l.Model)
	if err != nil {
		return Request{}, 0, fmt.Errorf("model: %w", err)
	}
	return Request{
		Arrival: seconds(*l.Arrival), Model: model, Run: seconds(*l.Run),
		Interactive: l.Interactive, Priority: l.Priority, Beside: l.Beside,
	}, seconds(l.Load), nil
}

func within(name string, value, most float64) error {
	if value < 0 || value > most {
		return fmt.Errorf("%s is %v: want seconds, from 0 to %.0f", name, value, most)
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s*1e6)) * time.Microsecond }

// models lists the worker models in the order of their first request, with
// what each takes at most.
func (t Trace) models() ([]core.ModelName, map[core.ModelName]sched.Cost) {
	var names []core.ModelName
	costs := map[core.ModelName]sched.Cost{}
	for _, r := range t.Requests {
		if r.Beside {
			continue
		}
		cost, seen := costs[r.Model]
		if !seen {
			names = append(names, r.Model)
		}
		costs[r.Model] = sched.Cost{Load: t.Load[r.Model], Run: max(cost.Run, r.Run)}
	}
	return names, costs
}
