package host

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// A BackendProcess is one run of a backend plugin. It implements
// [core.Backend].
type BackendProcess struct {
	*plugin.BackendClient
	*process
	Upstream core.Upstream // what Configure answered

	restart func(context.Context) (*BackendProcess, error)
}

// StartBackend runs the plugin that spec names, and configures it. What it
// returns must be stopped with Stop, or given to [Backend.Swap]. Its error is
// one sentence about the plugin, with what the plugin last wrote to stderr.
func StartBackend(ctx context.Context, spec Spec, settings core.Settings, log *slog.Logger) (*BackendProcess, error) {
	started := &BackendProcess{restart: func(ctx context.Context) (*BackendProcess, error) {
		return StartBackend(ctx, spec, settings, log)
	}}
	err := start(ctx, spec, log, func(ctx context.Context, p *process) (err error) {
		started.process, started.BackendClient = p, plugin.NewBackendClient(p.conn)
		started.Upstream, err = started.Configure(ctx, settings)
		p.version = cmp.Or(spec.Version, started.PluginVersion())
		return err
	})
	if err != nil {
		return nil, err
	}
	return started, nil
}

func (p *BackendProcess) base() *process { return p.process }

func (p *BackendProcess) again(ctx context.Context) (*BackendProcess, error) { return p.restart(ctx) }

// A Backend is a slot for a backend. It implements [core.Backend] but for
// Configure, which is the slot's own business.
type Backend struct {
	*slot[*BackendProcess]
}

// NewBackend returns a slot that is empty until Run. restarted, if not nil, is
// called by Run's goroutine after each start that follows an end which nobody
// asked for; the status then says why that was.
func NewBackend(spec Spec, settings core.Settings, restarted func(core.PluginStatus), log *slog.Logger) *Backend {
	return &Backend{newSlot(spec, func(ctx context.Context) (*BackendProcess, error) {
		return StartBackend(ctx, spec, settings, log)
	}, restarted, log)}
}

// Upstream is where inference requests go; its error is [core.ErrUnavailable].
func (b *Backend) Upstream() (core.Upstream, error) {
	p := b.running.Load()
	if p == nil {
		return core.Upstream{}, core.ErrUnavailable
	}
	return (*p).Upstream, nil
}

// Probe implements [core.Backend].
func (b *Backend) Probe(ctx context.Context) (version string, err error) {
	err = b.call(func(p *BackendProcess) error {
		version, err = p.Probe(ctx)
		return err
	})
	return version, err
}

// Models implements [core.Backend].
func (b *Backend) Models(ctx context.Context, known string) (list core.ModelList, err error) {
	err = b.call(func(p *BackendProcess) error {
		list, err = p.Models(ctx, known)
		return err
	})
	return list, err
}

// Running implements [core.Backend].
func (b *Backend) Running(ctx context.Context) (residents []core.Resident, err error) {
	err = b.call(func(p *BackendProcess) error {
		residents, err = p.Running(ctx)
		return err
	})
	return residents, err
}
