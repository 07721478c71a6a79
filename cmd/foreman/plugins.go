package main

import (
	"context"
	"strconv"

	"github.com/seed-af7fee88/foreman/core"
)

type pluginsCmd struct {
	List pluginsListCmd `cmd:"" help:"List the plugins that the daemon runs."`
	New  pluginsNewCmd  `cmd:"" help:"Write a plugin to begin with."`
}

type pluginsListCmd struct {
	daemonFlag
	Output string `short:"o" help:"Format: table or json." enum:"table,json" default:"table" env:"FOREMAN_PLUGINS_LIST_OUTPUT"`
}

// Run lists what the daemon says of its plugins.
func (c *pluginsListCmd) Run(ctx context.Context, e *env) error {
	client, err := c.open(e)
	if err != nil {
		return err
	}
	health, err := client.Health(ctx)
	if err != nil {
		return cantTell(err)
	}
	if c.Output == "json" {
		return e.json(struct {
			SchemaVersion int                 `json:"schema_version"`
			Plugins       []core.PluginStatus `json:"plugins"`
		}{1, health.Plugins})
	}
	rows := [][]string{{"NAME", "KIND", "STATE", "VERSION", "PROTOCOL", "RESTARTS", "ERROR"}}
	for _, p := range health.Plugins {
		protocol := ""
		if p.Protocol > 0 {
			protocol = strconv.Itoa(p.Protocol)
		}
		rows = append(rows, []string{
			p.Name, p.Kind, string(p.State), orDash(p.Version), orDash(protocol), strconv.Itoa(p.Restarts), orDash(p.Error),
		})
	}
	return e.table(rows)
}
