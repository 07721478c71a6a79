package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/inventory"
)

// reloads follows the config's files, and reads them also whenever again
// receives, until ctx ends.
func (d *Daemon) reloads(ctx context.Context, again <-chan os.Signal) error {
	watcher := config.NewWatcher(d.log)
	watcher.Follow(d.inForce.Files())
	var watch stack
	watch.start(watcher.Run)
	defer watch.stop()
	for {
		select {
		case <-watcher.Changed():
		case <-again:
		case <-ctx.Done():
			return nil
		}
		if files := d.reload(ctx); len(files) > 0 {
			watcher.Follow(files)
		}
	}
}

// reload is the one way to another config: what can fail comes first, and
// changes nothing. It returns the files that were read, good or bad.
func (d *Daemon) reload(ctx context.Context) []config.File {
	next, err := d.opts.Load()
	var p *plan
	if next.Blank() && !d.inForce.Blank() {
		err = next.Problem("", errors.New("is empty; put something into it, or restart foreman for the defaults"))
	}
	if err == nil {
		err = d.staysLocked(next)
	}
	if err == nil {
		p, err = d.launch.prepare(ctx, d.inForce, next, d.log)
	}
	switch {
	case err == nil:
		d.commit(ctx, p)
	case ctx.Err() == nil: // else foreman stops
		d.reject(err)
	}
	return next.Files()
}

// needRestart are the keys, or the beginnings of keys, that count from the
// next start of foreman on.
var needRestart = []string{
	"server.listen", "server.state_dir", "server.tls", "log.format",
	"jobs.webhooks", "jobs.webhook_secret", "jobs.allow_private",
}

// staysLocked refuses a config whose locks aren't enough for the address that
// foreman listens on until its next start, whatever address it names itself.
func (d *Daemon) staysLocked(next config.Config) error {
	server := next.Server
	server.TLS = d.started.Server.TLS
	if err := server.SetListen(d.started.Server.Listen); err != nil {
		return next.Problem("server.listen", fmt.Errorf("foreman listens on the former address until it is restarted: %w", err))
	}
	return nil
}

// commit puts the plan in force. Nothing in it can fail, but that foreman
// stops meanwhile.
func (d *Daemon) commit(ctx context.Context, p *plan) {
	if d.poller.Set(ctx, d.change(p)) != nil {
		p.drop()
		return
	}
	d.opts.Level.Set(level(p.next.Log))
	d.server.Set(apiOptions(p.next))
	d.line.scheduler.Set(schedule(p.next))
	if d.jobs != nil {
		d.jobs.Set(jobsOptions(p.next))
	}
	d.follower.SetSettle(p.next.Notify.Settle)
	d.notifiers.become(p.next, p.notifiers)
	changed, mended := config.Changes(d.inForce, p.next), d.told.Load().Error != nil
	d.inForce = p.next
	now := d.tellLoaded(p.next)
	if len(changed) == 0 && !mended {
		d.log.Info("the config was read again and says the same")
		return
	}
	data := core.ConfigReloadedData{File: now.File, Changed: changed, NeedsRestart: now.NeedsRestart}
	d.log.Info("the config was reloaded", "file", data.File, "changed", data.Changed, "needs_restart", data.NeedsRestart)
	d.tellOf(core.EventConfigReloaded, data, "%s", reloaded(data))
}

// reloaded is a reload in a sentence.
func reloaded(data core.ConfigReloadedData) string {
	if len(data.Changed) == 0 {
		return "the config was mended, and is as it was before"
	}
	sentence := "the config was reloaded: " + strings.Join(data.Changed, ", ") + " changed"
	if len(data.NeedsRestart) > 0 {
		sentence += "; restart foreman for " + strings.Join(data.NeedsRestart, ", ")
	}
	return sentence
}

// change is what the poller does differently under the plan.
func (d *Daemon) change(p *plan) inventory.Change {
	change := inventory.Change{Options: pollerOptions(p.next)}
	if p.backend == nil {
		return change
	}
	change.Swap = func() {
		if !d.backend.Swap(p.backend) {
			d.log.Error("the backend plugin as it was goes on: foreman stops, or it hangs")
		}
		d.server.CloseIdle()
	}
	before, after := target(d.inForce), target(p.next)
	if !after.SameTarget(&before) {
		first := d.state.Load(after)
		change.First = &first
	}
	return change
}

// reject tells that the config in force stays.
func (d *Daemon) reject(err error) {
	data := core.ConfigRejectedData{Problem: err.Error()}
	var problem *config.Error
	if errors.As(err, &problem) {
		data = core.ConfigRejectedData{File: problem.File, Line: problem.Line, Key: problem.Key, Problem: problem.Problem}
	}
	if data.File != "" {
		if abs, err := filepath.Abs(data.File); err == nil { // whoever reads it stands elsewhere
			data.File = abs
		}
	}
	d.log.Error("the config was rejected; the one before stays in force",
		"file", data.File, "line", data.Line, "key", data.Key, "error", data.Problem)
	told := *d.told.Load()
	told.Error = &data
	d.told.Store(&told)
	d.tellOf(core.EventConfigRejected, data, "the config was rejected, the one before stays in force: %v", err)
}

// tellLoaded has /healthz say that cfg is in force since now.
func (d *Daemon) tellLoaded(cfg config.Config) *api.ConfigHealth {
	now := time.Now().UTC().Truncate(time.Millisecond)
	told := &api.ConfigHealth{LoadedAt: &now, NeedsRestart: []string{}}
	if files := cfg.Files(); len(files) > 0 {
		told.File = files[0].Path
	}
	for _, key := range config.Changes(d.started, cfg) {
		if slices.ContainsFunc(needRestart, func(part string) bool { return key == part || strings.HasPrefix(key, part+".") }) {
			told.NeedsRestart = append(told.NeedsRestart, key)
		}
	}
	d.told.Store(told)
	return told
}
