package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// A launcher knows how plugins are run.
type launcher struct {
	self    string // foreman's own executable, which serves the built-in plugins too
	version string // foreman's
}

func newLauncher(version string) (launcher, error) {
	self, err := os.Executable()
	if err != nil {
		return launcher{}, fmt.Errorf("find foreman's own executable, which is the built-in plugins too: %w", err)
	}
	return launcher{self: self, version: version}, nil
}

func (l launcher) backend(cfg config.Config) host.Spec {
	name := cfg.Target.Backend
	if config.BuiltIn(name) {
		return l.builtIn(plugin.KindBackend, name, name)
	}
	outside := cfg.Plugins.Backend(name)
	return host.Spec{Kind: plugin.KindBackend, Name: name, Path: outside.Path, SHA256: outside.SHA256}
}

// notifier runs the one of [notify.name].
func (l launcher) notifier(cfg config.Config, name string) host.Spec {
	n := cfg.Notify.Named[name]
	if n.Plugin == "" {
		return l.builtIn(plugin.KindNotifier, name, n.Type)
	}
	outside := cfg.Plugins.Notifier(n.Plugin)
	return host.Spec{Kind: plugin.KindNotifier, Name: name, Path: outside.Path, SHA256: outside.SHA256}
}

// callback runs what posts to the webhooks of jobs.
func (l launcher) callback() host.Spec {
	return l.builtIn(plugin.KindNotifier, "jobs", "callback")
}

// builtIn runs this same executable as the plugin that serves what.
func (l launcher) builtIn(kind, name, what string) host.Spec {
	return host.Spec{Kind: kind, Name: name, Path: l.self, Args: []string{"plugin", kind, what}, Version: l.version}
}

// A plan is a config that is going to be in force, with the processes that it
// runs differently from the one before.
type plan struct {
	next      config.Config
	backend   *host.BackendProcess             // nil: it stays
	notifiers map[string]*host.NotifierProcess // those that are new or other than before
}

// prepare starts each plugin that next runs differently from before. Its error
// is a [*config.Error], and then nothing is left running.
func (l launcher) prepare(ctx context.Context, before, next config.Config, log *slog.Logger) (*plan, error) {
	p := &plan{next: next, notifiers: map[string]*host.NotifierProcess{}}
	if !reflect.DeepEqual(l.backend(before), l.backend(next)) || !reflect.DeepEqual(settings(before), settings(next)) {
		process, err := host.StartBackend(ctx, l.backend(next), settings(next), log)
		if err != nil {
			return nil, next.Problem("target", err)
		}
		p.backend = process
	}
	var starts errgroup.Group
	var started sync.Mutex // guards p.notifiers
	for name := range next.Notify.Named {
		spec, settings := l.notifier(next, name), notifierSettings(next, name)
		if reflect.DeepEqual(l.notifier(before, name), spec) && bytes.Equal(notifierSettings(before, name), settings) {
			continue
		}
		starts.Go(func() error {
			process, err := host.StartNotifier(ctx, spec, settings, log)
			if err != nil {
				return next.Problem("notify."+name, err)
			}
			started.Lock()
			defer started.Unlock()
			p.notifiers[name] = process
			return nil
		})
	}
	if err := starts.Wait(); err != nil {
		p.drop()
		return nil, err
	}
	return p, nil
}

// drop stops what was started for the plan.
func (p *plan) drop() {
	if p.backend != nil {
		p.backend.Stop()
	}
	for _, process := range p.notifiers {
		process.Stop()
	}
}
