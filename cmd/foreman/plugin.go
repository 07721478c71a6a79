package main

import (
	"fmt"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/plugins/notify"
	"github.com/seed-af7fee88/foreman/plugins/ollama"
	"github.com/seed-af7fee88/foreman/plugins/openai"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

type pluginCmd struct {
	Kind string `arg:"" enum:"backend,notifier" help:"Kind of plugin."`
	Name string `arg:"" help:"Name of the plugin."`
}

// builtIn makes the backends that this executable serves.
var builtIn = map[string]func() core.Backend{
	"ollama": func() core.Backend { return ollama.New() },
	"openai": func() core.Backend { return openai.New() },
	"sim":    func() core.Backend { return sim.NewBackend() },
}

// Run serves the plugin until foreman stops it.
func (c *pluginCmd) Run() error {
	if c.Kind == plugin.KindNotifier {
		if notifier, ok := notify.New(c.Name); ok {
			plugin.ServeNotifier(notifier)
		}
	} else if backend, ok := builtIn[c.Name]; ok {
		plugin.ServeBackend(backend())
	}
	return usageError{fmt.Errorf("there is no built-in %s %q", c.Kind, c.Name)}
}
