package config

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing more may happen until a change counts: one
	// save is several events.
	quiet = 150 * time.Millisecond
	// patience bounds how long a change may go on until it counts all the
	// same, and how long a file may be gone or empty in between.
	patience = 2 * time.Second
	// recheck is for what has no events: bind mounts, network file systems,
	// a directory on the way that was renamed.
	recheck = 10 * time.Second
	// blindRecheck is for where none can be had at all.
	blindRecheck = time.Second
)

// A Watcher tells when files no longer hold what they held. Their contents
// decide: neither a new date nor other permissions are a change, nor the same
// bytes in a new file.
type Watcher struct {
	log     *slog.Logger
	follow  chan []File // the latest that Run hasn't taken yet
	changed chan struct{}
}

// NewWatcher has a watcher that follows nothing yet.
func NewWatcher(log *slog.Logger) *Watcher {
	return &Watcher{log: log, follow: make(chan []File, 1), changed: make(chan struct{}, 1)}
}

// Follow is which files to watch from now on, in place of those before, and
// what they were found to hold: what is different already is a change. Of a
// file that is listed twice the last counts. It may be called at any time.
func (w *Watcher) Follow(files []File) {
	files = slices.Clone(files)
	for {
		select {
		case w.follow <- files:
			return
		case <-w.follow:
		}
	}
}

// Changed gets a value after a change. Changes until it is taken are one.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Run watches until ctx ends, and then returns nil. Where the system gives
// foreman no watches, it looks at the files each second instead.
func (w *Watcher) Run(ctx context.Context) error {
	l := watchLoop{Watcher: w, look: time.NewTimer(0), again: time.NewTimer(recheck)}
	l.look.Stop()
	defer l.look.Stop()
	defer l.again.Stop()
	var events <-chan fsnotify.Event
	var lost <-chan error
	system, err := fsnotify.NewWatcher()
	if err != nil {
		l.unwatchable = err
	} else {
		defer system.Close()
		l.system, events, lost = system, system.Events, system.Errors
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case files := <-w.follow:
			l.take(files)
		case event := <-events:
			if l.concerns(event) {
				l.stir()
			}
		case <-lost: // some events
			l.stir()
		case <-l.look.C:
			l.settle()
		case <-l.again.C:
			l.compare()
		}
	}
}

// A watchLoop is what Run's goroutine owns.
type watchLoop struct {
	*Watcher
	system      *fsnotify.Watcher // nil if there is none
	unwatchable error             // why there is none
	blind       bool              // a directory isn't watched that should be
	known       map[string]sum    // what is followed, and what was last told of it
	places      []string          // those of all trails
	watched     map[string]bool   // their directories
	look        *time.Timer       // runs while deadline is set
	deadline    time.Time         // when the change at hand counts at the latest; zero if there is none
	again       *time.Timer
}

// take follows files, and nothing else any more.
func (l *watchLoop) take(files []File) {
	l.known = map[string]sum{}
	for _, f := range files {
		l.known[f.Path] = f.sum
	}
	l.compare()
}

// compare finds a change that made no event.
func (l *watchLoop) compare() {
	l.sync()
	if !maps.Equal(l.known, l.sums()) {
		l.stir()
	}
}

// concerns reports whether event is about a name on one of the trails, or
// about a directory with one in it. A change of mode counts: it may let a file
// be read.
func (l *watchLoop) concerns(event fsnotify.Event) bool {
	name := filepath.Clean(event.Name) // it is //name in the root
	return slices.Contains(l.places, name) || l.watched[name]
}

// stir puts the look at the files off until it has been quiet.
func (l *watchLoop) stir() {
	now := time.Now()
	if l.deadline.IsZero() {
		l.deadline = now.Add(patience)
	}
	l.look.Reset(min(quiet, l.deadline.Sub(now)))
}

// settle tells of what has changed, unless a file is gone that may come back.
func (l *watchLoop) settle() {
	l.sync()
	now := l.sums()
	late := !time.Now().Before(l.deadline)
	if !late && l.lost(now) {
		l.stir()
		return
	}
	l.deadline = time.Time{}
	if maps.Equal(l.known, now) {
		return
	}
	l.known = now
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// lost reports whether a file is missing or empty now and wasn't. Somebody may
// be about to write it anew.
func (l *watchLoop) lost(now map[string]sum) bool {
	for path, s := range now {
		if s != l.known[path] && gone(s) {
			return true
		}
	}
	return false
}

func gone(s sum) bool { return s == 0 || s == sumOf([]byte{}) }

// sums are what the files hold now.
func (l *watchLoop) sums() map[string]sum {
	sums := map[string]sum{}
	for path, known := range l.known {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			sums[path] = known // a pipe would be read away
			continue
		}
		data, _ := readFile(path) // nil where it can't be read
		sums[path] = sumOf(data)
	}
	return sums
}

// sync watches the directories that matter now. It comes before the files are
// read: what changes afterwards makes an event.
func (l *watchLoop) sync() {
	watched := map[string]bool{}
	var failed error
	for pass, found := 0, true; found && pass < maxPasses; pass++ {
		found = false
		l.places = l.places[:0]
		for path := range l.known {
			l.places = append(l.places, trail(path)...)
		}
		for _, place := range l.places {
			if dir := filepath.Dir(place); !watched[dir] {
				watched[dir], found = true, true
				failed = cmp.Or(failed, l.add(dir))
			}
		}
	}
	for dir := range l.watched {
		if !watched[dir] && l.system != nil {
			_ = l.system.Remove(dir) // it may be gone, and its watch with it
		}
	}
	l.watched = watched
	l.rest(failed)
}

// maxPasses bounds how often sync goes after directories that come up while
// it looks.
const maxPasses = 5

// add watches dir, also if it is already: another directory may have its name
// by now.
func (l *watchLoop) add(dir string) error {
	if l.system == nil {
		return l.unwatchable
	}
	err := l.system.Add(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the next pass finds what is there instead
	}
	return err
}

// rest sets when the files are looked at without any event, given why one of
// the directories isn't watched.
func (l *watchLoop) rest(failed error) {
	pause := recheck
	if failed != nil {
		pause = blindRecheck
		if !l.blind {
			l.log.Warn("can't watch the configuration for changes; looking at it every second", "error", failed)
		}
	}
	l.blind = failed != nil
	l.again.Reset(pause)
}
