package main

import (
	"context"
	"log/slog"

	"github.com/seed-af7fee88/foreman/core/daemon"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check the config as a running foreman would, plugins' settings too."`
}

type configCheckCmd struct {
	File string `arg:"" optional:"" help:"Config file, in place of the one that foreman would take." placeholder:"FILE"`
}

// Run says that the config is good, or what is wrong with it first. What the
// plugins have to say goes to stderr.
func (c *configCheckCmd) Run(ctx context.Context, e *env) error {
	if c.File != "" {
		e.configFlag = c.File
	}
	cfg, err := e.load()
	if err != nil {
		return err
	}
	if err := daemon.Check(ctx, cfg, logger(e.stderr, cfg.Log, slog.LevelInfo)); err != nil {
		return err
	}
	if cfg.File() == "" {
		return e.lines([]string{"there is no config file, and the defaults are good"})
	}
	return e.lines([]string{cfg.File() + " is good"})
}
