package host

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// A NotifierProcess is one run of a notifier plugin. It implements
// [core.Notifier].
type NotifierProcess struct {
	*plugin.NotifierClient
	*process

	restart func(context.Context) (*NotifierProcess, error)
}

// StartNotifier is [StartBackend] for a notifier.
func StartNotifier(ctx context.Context, spec Spec, settings json.RawMessage, log *slog.Logger) (*NotifierProcess, error) {
	started := &NotifierProcess{restart: func(ctx context.Context) (*NotifierProcess, error) {
		return StartNotifier(ctx, spec, settings, log)
	}}
	err := start(ctx, spec, log, func(ctx context.Context, p *process) error {
		started.process, started.NotifierClient = p, plugin.NewNotifierClient(p.conn)
		err := started.Configure(ctx, settings)
		p.version = cmp.Or(spec.Version, started.PluginVersion())
		return err
	})
	if err != nil {
		return nil, err
	}
	return started, nil
}

func (p *NotifierProcess) base() *process { return p.process }

func (p *NotifierProcess) again(ctx context.Context) (*NotifierProcess, error) { return p.restart(ctx) }

// A Notifier is a slot for a notifier. It implements [core.Notifier] but for
// Configure, which is the slot's own business.
type Notifier struct {
	*slot[*NotifierProcess]
}

// NewNotifier is [NewBackend] for a notifier.
func NewNotifier(spec Spec, settings json.RawMessage, restarted func(core.PluginStatus), log *slog.Logger) *Notifier {
	return &Notifier{newSlot(spec, func(ctx context.Context) (*NotifierProcess, error) {
		return StartNotifier(ctx, spec, settings, log)
	}, restarted, log)}
}

// Notify implements [core.Notifier].
func (n *Notifier) Notify(ctx context.Context, event core.Event) error {
	return n.call(func(p *NotifierProcess) error { return p.Notify(ctx, event) })
}

// KeepNotifier is [NewNotifier] of a process that runs already: Run doesn't
// start another one first, and must be called for it to be stopped.
func KeepNotifier(p *NotifierProcess, restarted func(core.PluginStatus), log *slog.Logger) *Notifier {
	running := p
	return &Notifier{newSlot(p.spec, func(ctx context.Context) (*NotifierProcess, error) {
		if p := running; p != nil {
			running = nil
			return p, nil
		}
		return p.again(ctx)
	}, restarted, log)}
}
