package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/sched"
	"github.com/seed-af7fee88/foreman/core/sched/replay"
)

const (
	turns     = 20_000
	turnChats = 4000
	turnCosts = 50 * time.Microsecond

	tracesDir = "testdata/traces"
)

// atHome is the schedule by default.
var atHome = sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute, Linger: 20 * time.Second}

// measureSchedule measures what a turn costs that nobody waits for, and what
// the order of turns makes of recorded days.
func measureSchedule(ctx context.Context, b *bench) ([]figure, error) {
	alone, err := turnsAlone(ctx)
	if err != nil {
		return nil, err
	}
	figures := []figure{atMost(fmt.Sprintf("a turn while nobody else wants one, p50 of %d", turns), alone, turnCosts)}
	more, err := chatsWithTurns(ctx)
	figures = append(figures, more...)
	if err != nil {
		return figures, err
	}
	traces, err := filepath.Glob(filepath.Join(tracesDir, "*.jsonl"))
	if err != nil || len(traces) == 0 {
		return figures, fmt.Errorf("no traces in %s, %w", tracesDir, err)
	}
	for _, trace := range traces {
		more, err := replayed(trace)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// newLine is a scheduler to which the model of chats is always resident. It
// ends with ctx.
func newLine(ctx context.Context) *sched.Scheduler {
	residents := []core.Resident{{Name: chatModel}}
	s := sched.New(sched.Deps{
		Resident: func() ([]core.Resident, time.Time) { return residents, time.Now() },
		Confirm:  func(context.Context) ([]core.Resident, error) { return residents, nil },
	}, sched.Options{Rules: atHome, MaxWaiting: most}, slog.New(slog.DiscardHandler))
	go func() { _ = s.Run(ctx) }()
	return s
}

func acquire(ctx context.Context, s *sched.Scheduler, n int) (*sched.Turn, error) {
	return s.Acquire(ctx, sched.Request{
		ID: fmt.Sprint(n), Model: core.NameOf(chatModel), Name: chatModel, Interactive: true, Arrived: time.Now(),
	})
}

func turnsAlone(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newLine(ctx)
	var took []time.Duration
	for n := range turns {
		began := time.Now()
		turn, err := acquire(ctx, s, n)
		if err != nil {
			return 0, err
		}
		turn.Done()
		took = append(took, time.Since(began))
	}
	return median(took), nil
}

// chatsWithTurns compares chats through foreman's API that take turns with
// chats that don't.
func chatsWithTurns(ctx context.Context) ([]figure, error) {
	target, err := startRole(ctx, "chat")
	if err != nil {
		return nil, err
	}
	defer target.stop()
	var sides []func() (time.Duration, error)
	for _, role := range []string{"turns", "api"} {
		server, err := startRole(ctx, role, target.url)
		if err != nil {
			return nil, err
		}
		defer server.stop()
		c, err := dial(chatAt(server.url, 0))
		if err != nil {
			return nil, err
		}
		defer c.Close()
		sides = append(sides, timed(func() error { return readChat(c) }))
	}
	took, err := alternate(ctx, turnChats, sides...)
	if err != nil {
		return nil, err
	}
	with, without := median(took[0]), median(took[1])
	return []figure{
		atMost(fmt.Sprintf("what turns add to a chat of %d chunks, p50 of %d", chunks, turnChats), with-without, turnCosts),
		unjudged("the same chat without them", without),
	}, nil
}

// serveTurns is [serveAPI] with a scheduler.
func serveTurns(ctx context.Context, args []string) error {
	deps, line, n := aloneBefore(args[0]), newLine(ctx), 0
	deps.Acquire = func(ctx context.Context, _, _ string) (core.Turn, error) {
		n++ // there is one caller
		return acquire(ctx, line, n)
	}
	return serveAlone(ctx, deps)
}

// thriftless are the traces with no third of the swaps to give, with what they
// may have of those of first come, first served. core/sched/replay says why.
var thriftless = map[string]float64{"agents-slow": 1, "backlog": 10}

// replayed is what the schedule makes of a trace.
func replayed(path string) ([]figure, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	trace, err := replay.Read(file, path)
	if err != nil {
		return nil, err
	}
	c := replay.Compare(trace, atHome)
	if len(c.Figures) != 3 {
		return nil, fmt.Errorf("%s: no optimum was found", path)
	}
	ours, fifo, optimum := c.Figures[0], c.Figures[1], c.Figures[2]
	name := strings.TrimSuffix(filepath.Base(path), ".jsonl")
	swaps, ok := thriftless[name]
	if !ok {
		swaps = 1. / 3
	}
	what := fmt.Sprintf("the day %q: ", name)
	return []figure{
		ratioAtMost(what+"makespan, against the optimum", show(ours.Makespan), show(optimum.Makespan),
			ours.Makespan.Seconds()/optimum.Makespan.Seconds(), 1.05),
		ratioAtMost(what+"swaps, against first come, first served", amount(ours.Swaps).String(), amount(fifo.Swaps).String(),
			float64(ours.Swaps)/float64(fifo.Swaps), swaps),
		ratioAtMost(what+"longest wait, and the share of its bound that one waited", show(ours.Longest), "", ours.OfBound, 1),
	}, nil
}
