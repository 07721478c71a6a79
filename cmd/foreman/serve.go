package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/daemon"
)

type serveCmd struct {
	Listen string `help:"Address to listen on, over server.listen of the config." placeholder:"HOST:PORT" env:"FOREMAN_LISTEN"`
	Demo   bool   `help:"Serve a simulated Ollama: no GPU and no models needed." env:"FOREMAN_DEMO"`
}

// Run serves until SIGTERM or Ctrl-C, which end it well. SIGHUP has it read its
// config again.
func (c *serveCmd) Run(ctx context.Context, e *env) error {
	load := func() (config.Config, error) { return c.load(e) }
	cfg, err := load()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	options := daemon.Options{Version: version(), Level: level, Load: load}
	own := logger(e.stderr, cfg.Log, level)
	log.SetFlags(0)
	log.SetOutput(strays{own})
	d, err := daemon.New(cfg, options, own)
	if err != nil {
		return usageError{err}
	}
	if c.Demo {
		fmt.Fprintf(e.stderr, "foreman: a simulated Ollama; try: %s inventory, or OLLAMA_HOST=%s ollama run llama3.2\n", os.Args[0], d.URL())
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	return d.Run(ctx, hangup)
}

// load is the config with what the flags say over it.
func (c *serveCmd) load(e *env) (config.Config, error) {
	cfg, err := e.load()
	if err != nil {
		return cfg, err
	}
	if c.Listen != "" {
		if err := cfg.Server.SetListen(c.Listen); err != nil {
			return cfg, usageError{fmt.Errorf("--listen: %w", err)}
		}
	}
	if c.Demo {
		cfg.Target = config.Target{Backend: "sim"}
	}
	return cfg, nil
}

// logger writes to w as the config says, from level on.
func logger(w io.Writer, l config.Log, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// strays take what libraries write to the standard logger, to a log of ours.
// What they quote is left out: net/http quotes an answer that nobody asked for.
type strays struct{ log *slog.Logger }

// Write implements [io.Writer].
func (s strays) Write(line []byte) (int, error) {
	said, _, _ := strings.Cut(string(line), `"`)
	s.log.Debug("a library says", "text", strings.TrimSpace(said))
	return len(line), nil
}
