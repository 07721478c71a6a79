// Package daemon introduces the rooms to each other: it builds them from the
// config, runs them, changes them when the config changes, and stops them in
// the opposite order.
//
//	start:  listen ─► saved inventory, job store ─► plugin slot ─► state file ─► notifiers ─► events ─► poller
//	        ─► sleep watch ─► scheduler ─► jobs ─► API ─► config watch
//	reload: load ─► validate ─► prepare ─► commit ─► retire   (reload.go)
//	stop:   API drains ─► jobs are put back ─► poller ─► notifiers send what they can ─► state file, once more
//	        ─► plugin ─► job store
package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/events"
	"github.com/seed-af7fee88/foreman/core/inventory"
	"github.com/seed-af7fee88/foreman/core/jobs"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
	"github.com/seed-af7fee88/foreman/core/sched"
)

// eventsKept is how many events GET /events can replay.
const eventsKept = 1000

// Options are what a daemon is given besides its first config.
type Options struct {
	Version string                        // foreman's own
	Level   *slog.LevelVar                // of log; a reload sets it
	Load    func() (config.Config, error) // reads the config anew
}

// Daemon is foreman serve.
type Daemon struct {
	opts     Options
	launch   launcher
	listener net.Listener
	scheme   string // of what it serves
	backend  *host.Backend
	poller   *inventory.Poller
	state    *inventory.State
	server   *api.Server
	log      *slog.Logger

	line      line
	store     *store         // nil where no jobs are kept
	jobs      *jobs.Jobs     // nil without store
	callbacks *host.Notifier // posts to the webhooks of jobs; nil if those are off

	feed      *events.Feed
	follower  *events.Follower
	notifiers *notifiers
	telling   sync.Mutex // so that all hear of events in one order

	started config.Config // what the listener and the state are from
	inForce config.Config // as it was read; written by reload
	told    atomic.Pointer[api.ConfigHealth]
}

// New listens, and builds what cfg asks for. Its errors are the user's to
// mend.
func New(cfg config.Config, opts Options, log *slog.Logger) (*Daemon, error) {
	launch, err := newLauncher(opts.Version)
	if err != nil {
		return nil, err
	}
	listener, scheme, err := listen(cfg.Server, log)
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		opts: opts, launch: launch, listener: listener, scheme: scheme, log: log,
		state:   inventory.NewState(cfg.Server.StateDir, log),
		feed:    events.NewFeed(eventsKept),
		started: cfg, inForce: cfg,
	}
	d.backend = host.NewBackend(launch.backend(cfg), settings(cfg), d.restarted, log)
	d.poller = inventory.New(d.backend, d.state.Load(target(cfg)), pollerOptions(cfg), log)
	d.follower = events.NewFollower(d.poller.Watch, d.tell, events.Options{
		Settle: cfg.Notify.Settle, StateDir: cfg.Server.StateDir,
	}, log)
	d.notifiers = newNotifiers(cfg.Server.StateDir, d.restarted, log)
	d.line.scheduler = sched.New(sched.Deps{Resident: d.resident, Confirm: d.backend.Running}, schedule(cfg), log)
	deps := d.deps()
	if d.store, err = openStore(cfg.Server.StateDir, log); err == nil {
		d.jobs = jobs.New(d.jobsDeps(cfg), jobsOptions(cfg), log)
		deps.Jobs, deps.JobsUI = d.jobs, d.store.pages
	} else {
		deps.NoJobs = err.Error()
	}
	d.server = api.New(deps, apiOptions(cfg), log)
	d.opts.Level.Set(level(cfg.Log))
	d.tellLoaded(cfg)
	return d, nil
}

// deps are what the API has of the other rooms.
func (d *Daemon) deps() api.Deps {
	return api.Deps{
		Acquire: d.line.acquire, Queue: d.line.queue,
		Version: d.opts.Version, Inventory: d.poller, Events: d.feed,
		Upstream: d.backend.Upstream,
		Probe:    d.probe,
		Missing:  d.missing,
		Plugins: func() []core.PluginStatus {
			all := append([]core.PluginStatus{d.backend.Status()}, d.notifiers.plugins()...)
			if d.callbacks != nil {
				all = append(all, d.callbacks.Status())
			}
			return all
		},
		Notifiers: d.notifiers.queues,
		Config:    func() api.ConfigHealth { return *d.told.Load() },
	}
}

// jobsDeps are what the jobs have of them.
func (d *Daemon) jobsDeps(cfg config.Config) jobs.Deps {
	deps := jobs.Deps{
		Store: d.store, Node: "local", Acquire: d.acquireFor, Do: d.do, Probe: d.probe, Find: d.find,
		Target: d.poller.Watch, Tell: d.tell,
	}
	if cfg.Jobs.Webhooks {
		d.callbacks = host.NewNotifier(d.launch.callback(), callbackSettings(cfg), d.restarted, d.log)
		deps.Webhook, deps.Private = d.callback, cfg.Jobs.AllowPrivate
	}
	return deps
}

// Addr is what the daemon listens on.
func (d *Daemon) Addr() net.Addr { return d.listener.Addr() }

// URL is where the daemon is reached.
func (d *Daemon) URL() string { return d.scheme + "://" + d.Addr().String() }

// Run serves until ctx ends, and returns within five seconds of that with no
// process left behind. Each signal from again has the config read anew, as a
// change of its file does.
func (d *Daemon) Run(ctx context.Context, again <-chan os.Signal) error {
	var rooms stack
	defer rooms.stop()
	if d.store != nil {
		rooms = append(rooms, d.closeStore)
	}
	rooms.start(d.backend.Run)
	rooms.start(func(ctx context.Context) error { return d.state.Run(ctx, d.poller.Watch) })
	rooms = append(rooms, d.notifiers.stop)
	for name, n := range d.started.Notify.Named {
		slot := host.NewNotifier(d.launch.notifier(d.started, name), notifierSettings(d.started, name), d.restarted, d.log)
		d.notifiers.add(name, slot, n)
	}
	rooms.start(d.follower.Run)
	rooms.start(d.poll)
	rooms.start(d.followPlugin)
	rooms.start(sleepWatch{read: readClocks, woken: d.woken}.run)
	rooms.start(rushWatch{allocated: allocated, giveBack: d.calm}.run)
	rooms.start(d.line.scheduler.Run)
	if d.callbacks != nil {
		rooms.start(d.callbacks.Run)
	}
	if d.jobs != nil {
		rooms.start(d.jobs.Run)
	}

	failed := make(chan error, 1)
	rooms.start(func(ctx context.Context) error {
		err := d.server.Run(ctx, d.listener)
		failed <- err
		return err
	})
	rooms.start(func(ctx context.Context) error { return d.reloads(ctx, again) })
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
	case <-d.backend.Tried():
		return d.poller.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// followPlugin has the poller look as soon as the plugin is back.
func (d *Daemon) followPlugin(ctx context.Context) error {
	for {
		select {
		case <-d.backend.Up():
			d.poller.Nudge()
		case <-ctx.Done():
			return nil
		}
	}
}

// woken gives up what was connected before the machine slept.
func (d *Daemon) woken(slept time.Duration) {
	d.log.Info("the machine slept", "for", slept.Round(time.Second))
	d.server.CloseIdle()
	d.poller.Wake()
}

// calm gives back what a rush took.
func (d *Daemon) calm() {
	d.server.CloseIdle()
	giveBack()
}

// tell has everybody hear of e who wants to. It never blocks.
func (d *Daemon) tell(e core.Event) {
	if upstream, err := d.backend.Upstream(); e.Target == "" && err == nil {
		e.Target = upstream.URL // which the backend chose
	}
	d.telling.Lock()
	defer d.telling.Unlock()
	d.notifiers.offer(d.feed.Publish(e))
}

// tellOf tells what happened now.
func (d *Daemon) tellOf(kind core.EventType, data any, format string, args ...any) {
	d.tell(core.NewEvent(kind, time.Now(), d.poller.Snapshot().URL, fmt.Sprintf(format, args...), data))
}

func (d *Daemon) restarted(p core.PluginStatus) {
	d.tellOf(core.EventPluginRestarted,
		core.PluginData{Plugin: p.Name, Kind: p.Kind, Restarts: p.Restarts, Error: p.Error},
		"the %s plugin %s was started again: %s", p.Kind, p.Name, p.Error)
}

func (d *Daemon) missing(m core.MissingData) {
	caller := "somebody"
	if m.Caller != "" {
		caller = m.Caller
	}
	d.tellOf(core.EventModelMissing, m, "%s asked for the model %q, which is not installed", caller, m.Model)
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
