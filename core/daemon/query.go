package daemon

import (
	"context"
	"log/slog"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// What the commands do without a daemon.

// Query runs ask on the backend plugin that the config names, started for
// this one use.
func Query(ctx context.Context, cfg config.Config, log *slog.Logger, ask func(context.Context, core.Backend) error) error {
	launch, err := newLauncher("")
	if err != nil {
		return err
	}
	p, err := host.StartBackend(ctx, launch.backend(cfg), settings(cfg), log)
	if err != nil {
		return err
	}
	defer p.Stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.Poll.Timeout)
	defer cancel()
	return ask(ctx, p)
}

// Notify has the notifier of [notify.name] deliver event, in a process
// started for this one use and past every queue. Its error is the notifier's.
func Notify(ctx context.Context, cfg config.Config, name string, event core.Event, log *slog.Logger) error {
	launch, err := newLauncher("")
	if err != nil {
		return err
	}
	p, err := host.StartNotifier(ctx, launch.notifier(cfg, name), notifierSettings(cfg, name), log)
	if err != nil {
		return cfg.Problem("notify."+name, err)
	}
	defer p.Stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.Notify.Named[name].Timeout)
	defer cancel()
	return p.Notify(ctx, event)
}

// Check finds out what loading cfg doesn't show: it starts each plugin that
// cfg names, has it look at its settings, and stops it. Its error is a
// [*config.Error].
func Check(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	launch, err := newLauncher("")
	if err != nil {
		return err
	}
	p, err := launch.prepare(ctx, config.Config{}, cfg, log)
	if err != nil {
		return err
	}
	p.drop()
	return nil
}
