package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/daemon"
)

type serveCmd struct {
	Listen string `help:"Address to listen on, over server.listen of the config." placeholder:"HOST:PORT" env:"FOREMAN_LISTEN"`
	Demo   bool   `help:"Serve a simulated Ollama: no GPU and no models needed." env:"FOREMAN_DEMO"`
}

// Run serves until SIGTERM or Ctrl-C, which end it well.
func (c *serveCmd) Run(ctx context.Context, e *env) error {
	cfg, err := e.load()
	if err != nil {
		return err
	}
	if c.Listen != "" {
		if err := cfg.Server.SetListen(c.Listen); err != nil {
			return usageError{fmt.Errorf("--listen: %w", err)}
		}
	}
	if c.Demo {
		cfg.Target = config.Target{Backend: "sim"}
	}
	d, err := daemon.New(cfg, version(), logger(e.stderr, cfg.Log))
	if err != nil {
		return usageError{err}
	}
	if c.Demo {
		fmt.Fprintf(e.stderr, "foreman: a simulated Ollama; try: %s inventory, or OLLAMA_HOST=%s ollama run llama3.2\n", os.Args[0], d.URL())
	}
	return d.Run(ctx)
}

// logger writes to w as the config says.
func logger(w io.Writer, l config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // the config takes no other words than slog's
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
