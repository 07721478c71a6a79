// Package daemon introduces the rooms to each other: it builds them from the
// config, runs them, and stops them in the opposite order.
//
//	start:  listen ─► saved inventory ─► plugin slot ─► state file ─► poller ─► sleep watch, API
//	stop:   API drains ─► poller ─► state file, once more ─► plugin
package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/inventory"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// Daemon is foreman serve.
type Daemon struct {
	listener net.Listener
	scheme   string // of what it serves
	slot     *host.Slot
	poller   *inventory.Poller
	state    *inventory.State
	server   *api.Server
	log      *slog.Logger
}

// New listens, and builds what the config asks for. version is foreman's own.
// Its errors are the user's to mend.
func New(cfg config.Config, version string, log *slog.Logger) (*Daemon, error) {
	spec, err := backendSpec(cfg)
	if err != nil {
		return nil, err
	}
	listener, scheme, err := listen(cfg.Server, log)
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		listener: listener,
		scheme:   scheme,
		slot:     host.NewSlot(spec, settings(cfg), log),
		state:    inventory.NewState(cfg.Server.StateDir, cfg.Target.Backend, cfg.Target.URL, log),
		log:      log,
	}
	d.poller = inventory.New(d.slot, inventory.Options{
		Interval: cfg.Poll.Interval, Jitter: cfg.Poll.Jitter, Timeout: cfg.Poll.Timeout,
		FastInterval: cfg.Poll.FastInterval, DownInterval: cfg.Poll.DownInterval,
		Thresholds: core.Thresholds{Fall: cfg.Poll.Fall, Rise: cfg.Poll.Rise},
		First:      d.state.Load(core.Snapshot{Backend: cfg.Target.Backend, URL: cfg.Target.URL}),
	}, log)
	tokens := make(map[string]string, len(cfg.Server.Tokens))
	for name, secret := range cfg.Server.Tokens {
		tokens[name] = secret.Reveal()
	}
	d.server = api.New(d.poller, api.Options{
		Version: version, OpenAI: cfg.Server.OpenAI, Management: cfg.Server.Management,
		MaxBody: int64(cfg.Server.MaxBody), AllowedHosts: cfg.Server.AllowedHosts, Tokens: tokens,
		Origins: cfg.Server.AllowedOrigins, Connections: cfg.Server.MaxConnections,
		PollInterval: cfg.Poll.Interval, Allow: cfg.Admission.Allow, RetryMaxWait: cfg.Retry.MaxWait,
		Upstream: d.slot.Upstream,
		Probe:    func(ctx context.Context) error { _, err := d.slot.Probe(ctx); return err },
		Plugins:  func() []core.PluginStatus { return []core.PluginStatus{d.slot.Status()} },
	}, log)
	return d, nil
}

// Addr is what the daemon listens on.
func (d *Daemon) Addr() net.Addr { return d.listener.Addr() }

// URL is where the daemon is reached.
func (d *Daemon) URL() string { return d.scheme + "://" + d.Addr().String() }

// Run serves until ctx ends, and returns within five seconds of that with no
// process left behind.
func (d *Daemon) Run(ctx context.Context) error {
	var rooms stack
	defer rooms.stop()
	rooms.start(d.slot.Run)
	rooms.start(func(ctx context.Context) error { return d.state.Run(ctx, d.poller.Watch) })
	rooms.start(d.poll)
	rooms.start(d.followPlugin)
	rooms.start(sleepWatch{read: readClocks, woken: d.woken}.run)

	failed := make(chan error, 1)
	rooms.start(func(ctx context.Context) error {
		err := d.server.Run(ctx, d.listener)
		failed <- err
		return err
	})
	d.log.Info("foreman serves", "address", d.URL())
	select {
	case <-ctx.Done():
		d.log.Info("foreman stops")
		return nil
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	}
}

// poll runs the poller once the plugin has been tried, so that its first look
// finds the plugin there.
func (d *Daemon) poll(ctx context.Context) error {
	select {
	case <-d.slot.Tried():
		return d.poller.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// followPlugin has the poller look as soon as the plugin is back.
func (d *Daemon) followPlugin(ctx context.Context) error {
	for {
		select {
		case <-d.slot.Up():
			d.poller.Nudge()
		case <-ctx.Done():
			return nil
		}
	}
}

// woken gives up what was connected before the machine slept.
func (d *Daemon) woken(slept time.Duration) {
	d.log.Info("the machine slept", "for", slept.Round(time.Second))
	d.server.Woken()
	d.poller.Wake()
}

// stack is what runs, the newest last.
type stack []func()

// start runs a room beside the others.
func (s *stack) start(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run(ctx) // a room that can fail tells Run itself
	}()
	*s = append(*s, func() { cancel(); <-done })
}

// stop ends the rooms, the newest first, each before the next.
func (s *stack) stop() {
	for i := len(*s) - 1; i >= 0; i-- {
		(*s)[i]()
	}
}

// Query runs ask on the backend plugin that the config names, started for
// this one use.
func Query(ctx context.Context, cfg config.Config, log *slog.Logger, ask func(context.Context, core.Backend) error) error {
	spec, err := backendSpec(cfg)
	if err != nil {
		return err
	}
	p, err := host.Start(ctx, spec, settings(cfg), log)
	if err != nil {
		return err
	}
	defer p.Stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.Poll.Timeout)
	defer cancel()
	return ask(ctx, p)
}

func settings(cfg config.Config) core.Settings {
	return core.Settings{
		URL: cfg.Target.URL, Token: cfg.Target.Token.Reveal(),
		Extra: cfg.Plugins.Outside[cfg.Target.Backend].Settings,
	}
}

// backendSpec is how to run the backend: this same executable for a built-in
// one.
func backendSpec(cfg config.Config) (host.Spec, error) {
	name := cfg.Target.Backend
	if !config.BuiltIn(name) {
		outside := cfg.Plugins.Backend(name)
		return host.Spec{Name: name, Path: outside.Path, SHA256: outside.SHA256}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return host.Spec{}, fmt.Errorf("find foreman's own executable, which is the plugin too: %w", err)
	}
	return host.Spec{Name: name, Path: self, Args: []string{"plugin", plugin.KindBackend, name}}, nil
}
