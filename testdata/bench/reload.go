package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

const (
	saves    = 100
	reloads  = 1000
	warm     = 100 // reloads, before what foreman holds is counted the first time
	reloaded = 400 * time.Millisecond

	loadToken = "of-the-load"
)

// measureReload measures how long a save of the config takes to count, and
// reloads it again and again under load, which nobody may notice.
func measureReload(ctx context.Context, b *bench) ([]figure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	target, err := startRole(ctx, "chat")
	if err != nil {
		return nil, err
	}
	defer target.stop()
	d, err := startDaemon(ctx, b, target.url)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	r := &reloading{daemon: d, hook: target.url}
	if r.listener, err = d.hear(ctx, loadToken); err != nil {
		return nil, err
	}
	took, err := r.saves(ctx)
	if err != nil {
		return nil, err
	}
	figures := []figure{
		atMost(fmt.Sprintf("from save to new interval in force, p99 of %d", saves), slowestButOne(took), reloaded),
		unjudged("the same, median", median(took)),
	}
	more, err := r.underLoad(ctx)
	return append(figures, more...), err
}

// reloading is a daemon whose config changes.
type reloading struct {
	*daemon
	*listener
	hook string // a URL for a notifier
	n    int    // of the config in force
}

// reloadedConfig is different for each n: the interval and a token each time,
// every tenth time also the token for the target, which restarts its plugin,
// and in between a notifier that comes or goes.
func reloadedConfig(n int, hook string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "token = \"target-%d\"\n", n/10%2)
	fmt.Fprintf(&b, "[server.tokens]\nload = %q\nother = \"other-%d\"\n", loadToken, n%2)
	fmt.Fprintf(&b, "[poll]\ninterval = %q\n", intervalOf(n))
	if (n+5)/10%2 == 1 {
		fmt.Fprintf(&b, "[notify.comes-and-goes]\ntype = \"webhook\"\nurl = %q\nallow_private = true\n", hook)
	}
	return b.String()
}

func intervalOf(n int) time.Duration { return time.Duration(1+n%2) * time.Second }

// saves measures each save until the daemon says that the config counts.
func (r *reloading) saves(ctx context.Context) (took []time.Duration, err error) {
	for range saves {
		began := time.Now()
		if err := r.reload(false); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if err := r.checkInterval(ctx); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// reload saves the next config and returns once it is in force. A signal saves
// the time that the daemon waits for more changes of the file.
func (r *reloading) reload(signal bool) error {
	r.n++
	if err := r.write(reloadedConfig(r.n, r.hook)); err != nil {
		return err
	}
	if signal {
		if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			return err
		}
	}
	_, err := r.next(core.EventConfigReloaded)
	return err
}

func (r *reloading) checkInterval(ctx context.Context) error {
	health, err := api.NewClient(r.setup.listen, loadToken).Health(ctx)
	if err != nil {
		return err
	}
	if want := intervalOf(r.n).Seconds(); health.PollInterval != want {
		return fmt.Errorf("the interval is %v s, not %v s", health.PollInterval, want)
	}
	return nil
}

// underLoad reloads as fast as the daemon can.
func (r *reloading) underLoad(ctx context.Context) ([]figure, error) {
	var total, failed int64
	storm := func(n int) (held holdings, err error) {
		load := startLoad(ctx, r.url(), loadToken)
		for range n {
			if err == nil {
				err = r.reload(true)
			}
		}
		load.stop()
		f, first := load.failures()
		if first != nil {
			fmt.Fprintln(os.Stderr, "a request failed:", first)
		}
		total, failed = total+load.asked.Load(), failed+f
		if err != nil || !hasProc() {
			return held, err
		}
		if err := sleep(ctx, settle+time.Second); err != nil { // what was replaced may take so long
			return held, err
		}
		return holdingsOf(r.cmd.Process.Pid)
	}
	before, err := storm(warm)
	if err != nil {
		return nil, err
	}
	after, err := storm(reloads)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%d reloads under load: ", reloads)
	figures := []figure{
		unjudged(what+"requests beside", amount(total)),
		atMost(what+"requests that failed", amount(failed), 0),
	}
	if !hasProc() {
		return append(figures, skipped(what+"what foreman holds", "no /proc here")), nil
	}
	return append(figures, grown(what, before, after)...), nil
}

// holdings are what a daemon has of the system.
type holdings struct {
	children, files, threads amount
	resident                 size
}

const (
	strayFiles = 4 // connections that are on their way out
	stretch    = 1.25
)

func grown(what string, before, after holdings) []figure {
	return []figure{
		atMost(what+"processes more than before", after.children-before.children, 0),
		atMost(what+"open files more than before", after.files-before.files, strayFiles),
		unjudged(what+"threads more than before", after.threads-before.threads), // Go makes one where a system call takes long, and keeps it
		sizeAtMost(what+"resident memory, against before", after.resident, before.resident, stretch),
	}
}

func holdingsOf(pid int) (h holdings, err error) {
	children, err := childrenOf(pid)
	if err != nil {
		return h, err
	}
	for dir, n := range map[string]*amount{"fd": &h.files, "task": &h.threads} {
		entries, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(pid), dir))
		if err != nil {
			return h, err
		}
		*n = amount(len(entries))
	}
	h.children = amount(len(children))
	h.resident, err = rss(pid)
	return h, err
}
