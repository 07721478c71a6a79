package daemon

import (
	"encoding/json"
	"log/slog"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/inventory"
	"github.com/seed-af7fee88/foreman/core/jobs"
	"github.com/seed-af7fee88/foreman/core/outbox"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// What each room gets of the config.

func target(cfg config.Config) core.Snapshot {
	return core.Snapshot{Backend: cfg.Target.Backend, URL: cfg.Target.URL}
}

func pollerOptions(cfg config.Config) inventory.Options {
	return inventory.Options{
		Interval: cfg.Poll.Interval, Jitter: cfg.Poll.Jitter, Timeout: cfg.Poll.Timeout,
		FastInterval: cfg.Poll.FastInterval, DownInterval: cfg.Poll.DownInterval,
		Thresholds: core.Thresholds{Fall: cfg.Poll.Fall, Rise: cfg.Poll.Rise},
	}
}

func apiOptions(cfg config.Config) api.Options {
	tokens := make(map[string]string, len(cfg.Server.Tokens))
	for name, secret := range cfg.Server.Tokens {
		tokens[name] = secret.Reveal()
	}
	return api.Options{
		OpenAI: cfg.Server.OpenAI, Management: cfg.Server.Management,
		MaxBody: int64(cfg.Server.MaxBody), AllowedHosts: cfg.Server.AllowedHosts, Tokens: tokens,
		Origins: cfg.Server.AllowedOrigins, Connections: cfg.Server.MaxConnections,
		PollInterval: cfg.Poll.Interval, Allow: cfg.Admission.Allow, RetryMaxWait: cfg.Retry.MaxWait,
	}
}

func schedule(cfg config.Config) sched.Options {
	s := cfg.Schedule
	return sched.Options{
		Rules:      sched.Rules{Parallel: s.Parallel, MaxStint: s.MaxStint, Linger: s.Linger},
		MaxWaiting: s.MaxWaiting, Beside: s.Beside,
	}
}

func jobsOptions(cfg config.Config) jobs.Options {
	return jobs.Options{
		Parallel: cfg.Schedule.Parallel, MaxAttempts: cfg.Jobs.MaxAttempts, MaxRun: cfg.Jobs.MaxRun,
		MaxAge: cfg.Retry.MaxAge, TTL: cfg.Jobs.TTL, MaxQueued: cfg.Jobs.MaxQueued,
	}
}

// callbackSettings are for the plugin that posts to the webhooks of jobs.
func callbackSettings(cfg config.Config) json.RawMessage {
	settings, err := json.Marshal(struct {
		Secret       string `json:"secret"`
		AllowPrivate bool   `json:"allow_private"`
	}{cfg.Jobs.WebhookSecret.Reveal(), cfg.Jobs.AllowPrivate})
	if err != nil {
		panic(err) // a string and a flag always have JSON
	}
	return settings
}

func settings(cfg config.Config) core.Settings {
	return core.Settings{
		URL: cfg.Target.URL, Token: cfg.Target.Token.Reveal(),
		Extra: cfg.Plugins.Outside[cfg.Target.Backend].Settings,
	}
}

func outboxOptions(n config.Notifier) outbox.Options {
	return outbox.Options{Events: n.Events, MinInterval: n.MinInterval, RemindEvery: n.RemindEvery, Timeout: n.Timeout}
}

// notifierSettings are what [notify.name] says to its plugin; nil if there is
// no such table.
func notifierSettings(cfg config.Config, name string) json.RawMessage {
	n, ok := cfg.Notify.Named[name]
	if !ok {
		return nil
	}
	return json.RawMessage(n.Settings.Reveal())
}

// level is a word of log.level as slog has it.
func level(l config.Log) slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // the config takes no other words than slog's
	return level
}
