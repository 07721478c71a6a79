package daemon

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/outbox"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// notifiers are those of the config in force, each with its queue.
type notifiers struct {
	dir       string // of the queues' files
	restarted func(core.PluginStatus)
	log       *slog.Logger

	mu     sync.Mutex
	byName map[string]*notifier // replaced by what reloads, under mu
}

// A notifier is a plugin process and the queue of events for it.
type notifier struct {
	slot  *host.Notifier
	queue *outbox.Queue
	rooms stack
}

func newNotifiers(dir string, restarted func(core.PluginStatus), log *slog.Logger) *notifiers {
	return &notifiers{dir: dir, restarted: restarted, log: log, byName: map[string]*notifier{}}
}

// add starts the queue of the notifier called name, with what an earlier run
// of foreman left in it, and the plugin that slot is for.
func (n *notifiers) add(name string, slot *host.Notifier, cfg config.Notifier) {
	added := &notifier{slot: slot}
	added.queue = outbox.New(name, added.slot, n.dir, outboxOptions(cfg), n.log)
	added.rooms.start(added.slot.Run)
	added.rooms.start(added.queue.Run)
	added.rooms.start(func(ctx context.Context) error {
		for {
			select {
			case <-added.slot.Up():
				added.queue.Retry()
			case <-ctx.Done():
				return nil
			}
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.byName[name] = added
}

// remove stops the notifier called name. What it had to tell stays in its
// file: its table may be gone by mistake.
func (n *notifiers) remove(name string) {
	n.mu.Lock()
	removed := n.byName[name]
	delete(n.byName, name)
	n.mu.Unlock()
	removed.rooms.stop()
}

// become has cfg in force. started are the processes of the notifiers that
// are new or run differently.
func (n *notifiers) become(cfg config.Config, started map[string]*host.NotifierProcess) {
	for _, name := range n.names() {
		if _, stays := cfg.Notify.Named[name]; !stays {
			n.remove(name)
		}
	}
	for name, wanted := range cfg.Notify.Named {
		one, process := n.get(name), started[name]
		switch {
		case one == nil:
			n.add(name, host.KeepNotifier(process, n.restarted, n.log), wanted)
			continue
		case process != nil && !one.slot.Swap(process):
			n.log.Error("the notifier as it was goes on: foreman stops, or its plugin hangs", "notifier", name)
		}
		one.queue.Set(outboxOptions(wanted))
	}
}

// get is the notifier called name, nil if there is none.
func (n *notifiers) get(name string) *notifier {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byName[name]
}

// names are the notifiers' in order of the alphabet.
func (n *notifiers) names() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.byName))
}

// all are the notifiers in order of their names.
func (n *notifiers) all() []*notifier {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*notifier
	for _, name := range slices.Sorted(maps.Keys(n.byName)) {
		all = append(all, n.byName[name])
	}
	return all
}

func (n *notifiers) offer(e core.Event) {
	for _, one := range n.all() {
		one.queue.Offer(e)
	}
}

func (n *notifiers) plugins() []core.PluginStatus {
	var all []core.PluginStatus
	for _, one := range n.all() {
		all = append(all, one.slot.Status())
	}
	return all
}

func (n *notifiers) queues() []core.NotifierStatus {
	var all []core.NotifierStatus
	for _, one := range n.all() {
		all = append(all, one.queue.Status())
	}
	return all
}

// stop has each notifier send what it still can, all at the same time.
func (n *notifiers) stop() {
	var stopping sync.WaitGroup
	for _, one := range n.all() {
		stopping.Go(one.rooms.stop)
	}
	stopping.Wait()
}
