package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/seed-af7fee88/foreman/core/sched"
	"github.com/seed-af7fee88/foreman/core/sched/replay"
)

type jobsReplayCmd struct {
	Trace    string        `arg:"" help:"JSON lines with arrival, run and load in seconds, and model; optionally interactive, priority, beside; - is stdin."`
	Parallel int           `help:"Requests that the resident model runs at once." default:"1"`
	MaxStint time.Duration `help:"How long a model keeps others waiting." default:"5m"`
	Linger   time.Duration `help:"Of that, how long the target may idle for a model's next request." default:"20s"`
	SVG      string        `name:"svg" help:"Draw the timelines into FILE." placeholder:"FILE"`
	Output   string        `short:"o" help:"Format: table or json." enum:"table,json" default:"table"`
}

// Run compares what foreman's schedule would have made of a recorded day with
// first come, first served, and with what a clairvoyant would have.
func (c *jobsReplayCmd) Run(e *env) error {
	if c.Parallel < 1 || c.Parallel > 64 {
		return usageError{fmt.Errorf("--parallel is %d: want 1 to 64", c.Parallel)}
	}
	if c.MaxStint < time.Second {
		return usageError{fmt.Errorf("--max-stint is %s: want 1s or more", c.MaxStint)}
	}
	if c.Linger < 0 {
		return usageError{fmt.Errorf("--linger is %s: want 0s or more", c.Linger)}
	}
	trace, err := c.read(e)
	if err != nil {
		return usageError{err}
	}
	compared := replay.Compare(trace, sched.Rules{Parallel: c.Parallel, MaxStint: c.MaxStint, Linger: c.Linger})
	if c.SVG != "" {
		if err := os.WriteFile(c.SVG, compared.SVG(trace, c.Parallel), 0o644); err != nil {
			return fmt.Errorf("draw the timelines: %w", err)
		}
	}
	if c.Output == "json" {
		return e.json(replayDocument(compared))
	}
	if err := e.table(replayTable(compared)); err != nil {
		return err
	}
	e.say("%s", replayNote(compared.Optimum))
	return nil
}

func (c *jobsReplayCmd) read(e *env) (replay.Trace, error) {
	if c.Trace == "-" {
		return replay.Read(e.stdin, "stdin")
	}
	f, err := os.Open(c.Trace)
	if err != nil {
		return replay.Trace{}, fmt.Errorf("read the trace: %w", err)
	}
	defer func() { _ = f.Close() }()
	return replay.Read(f, c.Trace)
}

func replayTable(c replay.Comparison) [][]string {
	rows := [][]string{{"POLICY", "MAKESPAN", "SWAPS", "WAIT P50", "WAIT P99", "LONGEST", "OF BOUND"}}
	for _, f := range c.Figures {
		rows = append(rows, []string{
			f.Policy, tenths(f.Makespan), strconv.Itoa(f.Swaps), tenths(f.P50), tenths(f.P99), tenths(f.Longest),
			fmt.Sprintf("%.0f%%", 100*f.OfBound),
		})
	}
	return rows
}

// replayNote says what the optimum is worth.
func replayNote(o replay.Optimum) string {
	switch o.Kind {
	case replay.Exact:
		return "the optimum is exact: even without a bound on waits no schedule ends earlier"
	case replay.Ordered:
		return fmt.Sprintf("the optimum keeps the bound and the order of arrival within a model; without them none ends before %s", tenths(o.Least))
	default:
		return fmt.Sprintf("no optimum was found; no schedule ends before %s", tenths(o.Least))
	}
}

func tenths(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

type replayFigures struct {
	Policy          string  `json:"policy"`
	MakespanSeconds float64 `json:"makespan_seconds"`
	Swaps           int     `json:"swaps"`
	WaitP50Seconds  float64 `json:"wait_p50_seconds"`
	WaitP99Seconds  float64 `json:"wait_p99_seconds"`
	LongestSeconds  float64 `json:"wait_longest_seconds"`
	OfBound         float64 `json:"of_bound"` // over 1: a request waited longer than it may
}

func replayDocument(c replay.Comparison) any {
	policies := make([]replayFigures, len(c.Figures))
	for i, f := range c.Figures {
		policies[i] = replayFigures{
			f.Policy, f.Makespan.Seconds(), f.Swaps, f.P50.Seconds(), f.P99.Seconds(), f.Longest.Seconds(),
			math.Round(1e4*f.OfBound) / 1e4,
		}
	}
	return struct {
		SchemaVersion     int             `json:"schema_version"`
		Policies          []replayFigures `json:"policies"`
		Optimum           replay.Kind     `json:"optimum"` // exact, ordered or bound
		LeastMakespanSecs float64         `json:"least_makespan_seconds"`
	}{1, policies, c.Optimum.Kind, c.Optimum.Least.Seconds()}
}
