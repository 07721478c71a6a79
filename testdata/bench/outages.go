package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

const (
	kills   = 100
	revived = 2 * time.Second
)

// measureOutages measures two things at the same time: each takes a minute or
// two, in which nearly nothing happens.
func measureOutages(ctx context.Context, b *bench) ([]figure, error) {
	var figures [2][]figure
	group, ctx := errgroup.WithContext(ctx)
	for i, measure := range []func(context.Context, *bench) ([]figure, error){measureNotify, measureKills} {
		group.Go(func() (err error) {
			figures[i], err = measure(ctx, b)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(figures[0], figures[1]), err
}

// measureKills kills the backend plugin as soon as it runs, again and again.
func measureKills(ctx context.Context, b *bench) ([]figure, error) {
	what := fmt.Sprintf("a plugin killed %d times: ", kills)
	if !hasProc() {
		return []figure{skipped(what+"until it runs again", "no /proc here")}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := startDaemon(ctx, b, b.targetOf(idleModels))
	if err != nil {
		return nil, err
	}
	defer d.stop()
	l, err := d.hear(ctx, "")
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for range kills {
		once, err := d.killPlugin(l)
		if err != nil {
			return nil, err
		}
		took = append(took, once)
	}
	figures := []figure{
		atMost(what+"until it runs again, the first time", took[0], revived),
		atMost(what+"the slowest time", slices.Max(took), revived),
		unjudged(what+"median", median(took)),
	}
	return figures, d.works(ctx)
}

// killPlugin kills the only plugin, and measures until foreman has another.
func (d *daemon) killPlugin(l *listener) (time.Duration, error) {
	plugins, err := childrenOf(d.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	if len(plugins) != 1 {
		return 0, fmt.Errorf("foreman serve has %d children, not its one plugin", len(plugins))
	}
	began := time.Now()
	if err := syscall.Kill(plugins[0], syscall.SIGKILL); err != nil {
		return 0, err
	}
	_, err = l.next(core.EventPluginRestarted)
	return time.Since(began), err
}

// works waits until the plugin is as good as the first one.
func (d *daemon) works(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, told)
	defer cancel()
	client := api.NewClient(d.setup.listen, "")
	for {
		health, err := client.Health(ctx)
		if err != nil {
			return fmt.Errorf("after %d kills: %w", kills, err)
		}
		if health.Status == core.Healthy && health.LastPoll.OK {
			return nil
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("%v after %d kills: %s", told, kills, health.LastPoll.Error)
		}
	}
}
