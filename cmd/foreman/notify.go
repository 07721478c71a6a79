package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/daemon"
)

type notifyCmd struct {
	Test notifyTestCmd `cmd:"" help:"Send a test event to the notifiers of the config, and say what happened."`
}

type notifyTestCmd struct {
	Name   string `arg:"" optional:"" help:"Only the notifier of [notify.NAME]."`
	Output string `short:"o" help:"Format: table or json." enum:"table,json" default:"table" env:"FOREMAN_NOTIFY_TEST_OUTPUT"`
}

// A trial is what came of one test event.
type trial struct {
	Notifier  string  `json:"notifier"`
	Type      string  `json:"type"`
	Delivered bool    `json:"delivered"`
	MS        float64 `json:"duration_ms"`
	Error     string  `json:"error"`
}

// Run sends one event to each notifier, past the daemon and its queues. It is
// a yes if all were delivered.
func (c *notifyTestCmd) Run(ctx context.Context, e *env) error {
	cfg, err := e.load()
	if err != nil {
		return err
	}
	names, err := c.names(cfg)
	if err != nil {
		return usageError{err}
	}
	var trials []trial
	for _, name := range names {
		t := sendTest(ctx, e, cfg, name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		trials = append(trials, t)
	}
	if err := c.print(e, trials); err != nil {
		return err
	}
	if slices.ContainsFunc(trials, func(t trial) bool { return !t.Delivered }) {
		return errNo
	}
	return nil
}

func (c *notifyTestCmd) names(cfg config.Config) ([]string, error) {
	names := slices.Sorted(maps.Keys(cfg.Notify.Named))
	switch {
	case c.Name == "" && len(names) == 0:
		return nil, fmt.Errorf("the config has no notifier; add a table such as [notify.ops] to it")
	case c.Name == "":
		return names, nil
	case slices.Contains(names, c.Name):
		return []string{c.Name}, nil
	}
	if near := core.Near(c.Name, names); len(near) > 0 {
		return nil, fmt.Errorf("the config has no [notify.%s]; did you mean %q?", c.Name, near[0])
	}
	return nil, fmt.Errorf("the config has no [notify.%s]", c.Name)
}

func sendTest(ctx context.Context, e *env, cfg config.Config, name string) trial {
	n := cfg.Notify.Named[name]
	t := trial{Notifier: name, Type: n.Type}
	if n.Plugin != "" {
		t.Type = "plugin " + n.Plugin
	}
	event := core.NewEvent(core.EventTest, time.Now(), cfg.Target.URL,
		fmt.Sprintf("this is a test of foreman's notifier %s", name), nil)
	event.ID = ulid.Make().String()
	began := time.Now()
	err := daemon.Notify(ctx, cfg, name, event, logger(e.stderr, cfg.Log, slog.LevelInfo))
	t.MS = float64(time.Since(began).Microseconds()) / 1000
	t.Delivered = err == nil
	if err != nil {
		t.Error = err.Error()
	}
	return t
}

func (c *notifyTestCmd) print(e *env, trials []trial) error {
	if c.Output == "json" {
		return e.json(struct {
			SchemaVersion int     `json:"schema_version"`
			Notifiers     []trial `json:"notifiers"`
		}{1, trials})
	}
	rows := [][]string{{"NOTIFIER", "TYPE", "RESULT"}}
	for _, t := range trials {
		result := fmt.Sprintf("delivered in %.0f ms", t.MS)
		if !t.Delivered {
			result = "failed: " + t.Error
		}
		rows = append(rows, []string{t.Notifier, t.Type, result})
	}
	return e.table(rows)
}
