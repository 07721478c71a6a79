package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/inventory"
)

// weights is the resident memory of both sides at the end of the first polls,
// and of all: the host's without its garbage, which takes a thousand polls to
// pile up, and the plugin's typical one, since its garbage comes and goes.
type weights struct {
	Host, Plugin [2]size
}

const (
	weighed = 100  // polls in a row, whose median is typical of the plugin
	steady  = 1.15 // what two weights may differ by all the same
)

// measureGrowth compares the memory after some polls and after many more.
func measureGrowth(ctx context.Context, b *bench) ([]figure, error) {
	if !hasProc() {
		return []figure{skipped("memory over 1000 polls", "no /proc here")}, nil
	}
	var figures []figure
	for _, run := range []struct {
		what, target string
		first, more  int
	}{
		{"unchanged", b.targetOf(many), 200, 1000},
		{"changed", b.target + "/" + changing, 120, 100},
	} {
		cmd, err := roleCommand(ctx, "poller", b.foreman, run.target, strconv.Itoa(run.first), strconv.Itoa(run.more))
		if err != nil {
			return figures, err
		}
		out, err := cmd.Output()
		if err != nil {
			return figures, err
		}
		var w weights
		if err := json.Unmarshal(out, &w); err != nil {
			return figures, err
		}
		what := fmt.Sprintf("memory after %d more %s polls of %d models, ", run.more, run.what, many)
		host := sizeAtMost(what+"host", w.Host[1], w.Host[0], steady)
		plugin := sizeAtMost(what+"plugin", w.Plugin[1], w.Plugin[0], steady)
		if run.more < 1000 { // too few to tell growth from what the collector has left
			host, plugin = seen(host), seen(plugin)
		}
		figures = append(figures, host, plugin)
	}
	return figures, nil
}

// pollAndWeigh polls as the daemon does, only without a pause. args are the
// foreman, the target, and how many polls come before each weighing.
func pollAndWeigh(ctx context.Context, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	process, err := startPlugin(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	defer process.Stop()
	poller := inventory.New(process, core.Snapshot{}, inventory.Options{
		Interval: time.Millisecond, Timeout: 5 * time.Second, FastInterval: time.Second, DownInterval: time.Second,
		Thresholds: core.Thresholds{Fall: 1, Rise: 1},
	}, slog.New(slog.DiscardHandler))
	done := make(chan error)
	go func() { done <- poller.Run(ctx) }()

	plugins, err := childrenOf(os.Getpid())
	if err != nil {
		return err
	}
	var w weights
	for i, arg := range args[2:] {
		polls, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		if err := follow(poller, polls-weighed, func() error { return nil }); err != nil {
			return err
		}
		var typical []size
		if err := follow(poller, weighed, func() error {
			now, err := rss(plugins...)
			typical = append(typical, now)
			return err
		}); err != nil {
			return err
		}
		w.Plugin[i] = median(typical)
		debug.FreeOSMemory()
		if w.Host[i], err = rss(os.Getpid()); err != nil {
			return err
		}
	}
	cancel()
	<-done
	return json.NewEncoder(os.Stdout).Encode(w)
}

// follow calls after after each of the next polls.
func follow(poller *inventory.Poller, polls int, after func() error) error {
	for range polls {
		snapshot, superseded := poller.Watch()
		if snapshot.LastPoll.Fault != nil {
			return snapshot.LastPoll.Fault
		}
		<-superseded
		if err := after(); err != nil {
			return err
		}
	}
	return nil
}
