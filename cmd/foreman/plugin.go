package main

import (
	"fmt"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/plugins/ollama"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

type pluginCmd struct {
	Kind string `arg:"" enum:"backend" help:"Kind of plugin."`
	Name string `arg:"" help:"Name of the plugin."`
}

// builtIn makes the backends that this executable serves.
var builtIn = map[string]func() core.Backend{
	"ollama": func() core.Backend { return ollama.New() },
	"sim":    func() core.Backend { return sim.NewBackend() },
}

// Run serves the plugin until foreman stops it.
func (c *pluginCmd) Run() error {
	backend, ok := builtIn[c.Name]
	if !ok {
		return usageError{fmt.Errorf("there is no built-in backend %q", c.Name)}
	}
	plugin.ServeBackend(backend())
	return nil
}
