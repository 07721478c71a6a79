package main

import (
	"context"
	"fmt"
	"time"
)

const (
	most         = 256 // connections
	streamRounds = 15
	streamRound  = 200 * time.Millisecond

	gap = 10 * time.Millisecond

	kibibyte = 1 << 10
	mebibyte = 1 << 20
)

// ways are the three ways to a chat.
type ways struct {
	target, reverse, splice *roleProcess
	foreman                 *daemon
}

func startWays(ctx context.Context, b *bench) (w *ways, err error) {
	w = new(ways)
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if w.target, err = startRole(ctx, "chat"); err != nil {
		return nil, err
	}
	if w.reverse, err = startRole(ctx, "reverse", w.target.url); err != nil {
		return nil, err
	}
	if w.splice, err = startRole(ctx, "splice", w.target.url); err != nil {
		return nil, err
	}
	w.foreman, err = startDaemon(ctx, b, w.target.url)
	return w, err
}

func (w *ways) stop() {
	if w.foreman != nil {
		w.foreman.stop()
	}
	for _, p := range []*roleProcess{w.splice, w.reverse, w.target} {
		if p != nil {
			p.stop()
		}
	}
}

// measureStreams compares chats through foreman with the same without, and
// shows beside what a bare httputil.ReverseProxy makes of it, and one that
// only copies bytes: no proxy does better on the machine at hand.
func measureStreams(ctx context.Context, b *bench) ([]figure, error) {
	w, err := startWays(ctx, b)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	var figures []figure
	for _, run := range []struct {
		connections int
		least       float64
	}{{1, 0.65}, {32, 0.85}, {most, 0.78}} {
		more, err := w.fast(ctx, run.connections, run.least)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	more, err := w.weight(ctx)
	figures = append(figures, more...)
	if err != nil {
		return figures, err
	}
	for _, run := range pacedRuns {
		more, err := w.paced(ctx, run)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// fast measures chats whose target doesn't make them wait.
func (w *ways) fast(ctx context.Context, connections int, least float64) ([]figure, error) {
	side := func(base string) func() (time.Duration, error) {
		return repeated(connections, chatAt(base, 0), streamRound, readChat)
	}
	took, err := alternate(ctx, streamRounds, side(w.target.url), side(w.foreman.url()), side(w.reverse.url), side(w.splice.url))
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("streamed chat, %d chunks, %d connections, against direct", chunks, connections)
	return []figure{
		rateAtLeast(what, compare(took[1], took[0]), least),
		seen(rateAtLeast("the same through httputil.ReverseProxy", compare(took[2], took[0]), 0)),
		seen(rateAtLeast("the same through a copy of bytes", compare(took[3], took[0]), 0)),
	}, nil
}

// weight is what foreman keeps of the load, whose connections are still open.
func (w *ways) weight(ctx context.Context) ([]figure, error) {
	what := fmt.Sprintf("foreman's resident memory after chats at %d connections", most)
	if !hasProc() {
		return []figure{skipped(what, "no /proc here")}, nil
	}
	pid := w.foreman.cmd.Process.Pid
	atOnce, err := rss(pid)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	later, err := rss(pid)
	return []figure{
		unjudged(what+", at once", atOnce),
		atMost(fmt.Sprintf("%s, %v later", what, settle), later, 40*mebibyte),
	}, err
}
