package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const (
	idleModels = 10
	settle     = 5 * time.Second // for the start to be over
	leastIdle  = 45 * time.Second
)

// idle is a daemon with its plugin that nobody asks anything.
type idle struct {
	*daemon       // nil if it isn't measured
	pids    []int // the daemon's and its plugin's
	since   time.Time
	cpu     time.Duration // spent until since
}

func startIdle(ctx context.Context, b *bench, wanted bool) (*idle, error) {
	if !wanted || !hasProc() {
		return &idle{daemon: new(daemon)}, nil
	}
	d, err := startDaemon(ctx, b, b.targetOf(idleModels))
	if err != nil {
		return nil, err
	}
	i := &idle{daemon: d}
	if err := i.begin(ctx); err != nil {
		d.stop()
		return nil, err
	}
	return i, nil
}

func (i *idle) begin(ctx context.Context) error {
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	pid := i.cmd.Process.Pid
	plugins, err := childrenOf(pid)
	if err != nil {
		return err
	}
	if len(plugins) != 1 {
		return fmt.Errorf("foreman serve has %d children, not its one plugin", len(plugins))
	}
	i.pids, i.since = append(plugins, pid), time.Now()
	i.cpu, err = cpuTime(i.pids...)
	return err
}

// figures waits until the daemon has idled for long enough.
func (i *idle) figures(ctx context.Context) ([]figure, error) {
	if i.pids == nil {
		if hasProc() {
			return nil, nil
		}
		return []figure{skipped("idle daemon and plugin", "no /proc here")}, nil
	}
	if left := leastIdle - time.Since(i.since); left > 0 {
		fmt.Fprintln(os.Stderr, "measuring idle ...")
		if err := sleep(ctx, left); err != nil {
			return nil, err
		}
	}
	resident, err := rss(i.pids...)
	if err != nil {
		return nil, err
	}
	shared, err := pss(i.pids...)
	if err != nil {
		return nil, err
	}
	cpu, err := cpuTime(i.pids...)
	if err != nil {
		return nil, err
	}
	span := time.Since(i.since)
	if err := i.sawPoll(ctx); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("idle daemon and plugin, %d models: ", idleModels)
	return []figure{
		atMost(what+"resident memory, pages that both have of one file counted once", shared, 45_000_000),
		unjudged(what+"the same, those pages counted twice", resident),
		atMost(fmt.Sprintf("%sof one core, over %v", what, span.Round(time.Second)), percent(100*float64(cpu-i.cpu)/float64(span)), 0.2),
	}, nil
}

// sawPoll makes sure that a poll was part of it.
func (i *idle) sawPoll(ctx context.Context) error {
	body, _, err := fetch(ctx, i.url()+"/healthz")
	if err != nil {
		return err
	}
	var health struct {
		LastPoll struct {
			At time.Time `json:"at"`
			OK bool      `json:"ok"`
		} `json:"last_poll"`
	}
	if err := json.Unmarshal(body, &health); err != nil {
		return err
	}
	if poll := health.LastPoll; !poll.OK || poll.At.Before(i.since) {
		return fmt.Errorf("no good poll since %v: %s", i.since, body)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
