package config_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/config"
)

const (
	// soon is less than the time after which the watcher looks at files that
	// had no event.
	soon = 6 * time.Second
	// silence is longer than the watcher takes for an event.
	silence = 300 * time.Millisecond
)

// A watch is a running Watcher.
type watch struct {
	*config.Watcher
	file string // the configuration that it follows
	stop func()
}

// startWatch follows file, which may not exist, and what it names.
func startWatch(t *testing.T, file string) *watch {
	t.Helper()
	w := &watch{Watcher: config.NewWatcher(slog.New(slog.NewTextHandler(t.Output(), nil))), file: file}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { w.stop() })
	w.followAll()
	return w
}

// followAll loads the file and follows what was read.
func (w *watch) followAll() {
	c, _ := config.Load(w.file, environ())
	w.Follow(c.Files())
}

// arrive waits until the watcher has seen a change, and so has its watches.
func (w *watch) arrive(t *testing.T, change func()) {
	t.Helper()
	change()
	w.expect(t)
}

func (w *watch) expect(t *testing.T) {
	t.Helper()
	select {
	case <-w.Changed():
	case <-time.After(soon):
		t.Fatal("the change wasn't told")
	}
}

func (w *watch) expectNothing(t *testing.T) {
	t.Helper()
	select {
	case <-w.Changed():
		t.Error("told of no change")
	case <-time.After(silence):
	}
}

func pause(d time.Duration) { <-time.After(d) }

const (
	was     = "[poll]\nfall = 5\n"
	becomes = "[poll]\nfall = 6\n"
)

// newFile is foreman.toml in a directory of its own below that of the test.
func newFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "etc", "foreman.toml")
	must(t, os.Mkdir(filepath.Dir(file), 0o700))
	write(t, file, was)
	return file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replace puts text into a new file that takes the place of path.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	must(t, os.Rename(path+".new", path))
}

// link makes path a symbolic link to target, whatever it was.
func link(t *testing.T, target, path string) {
	t.Helper()
	must(t, os.Symlink(target, path+".new"))
	must(t, os.Rename(path+".new", path))
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	if said, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, said)
	}
}

func TestEachWayAFileChanges(t *testing.T) {
	t.Parallel()
	for _, tt := range changes {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			file := newFile(t)
			if tt.lay != nil {
				tt.lay(t, file)
			}
			w := startWatch(t, file)
			w.arrive(t, func() { write(t, file, was+" ") })
			tt.change(t, file)
			w.expect(t)
			if text, err := os.ReadFile(file); err != nil || string(text) == was+" " {
				t.Errorf("told when the file was %q, %v", text, err)
			}
			w.followAll()
			w.expectNothing(t)
			write(t, file, was+"# again")
			w.expect(t)
		})
	}
}

func TestWhatIsNoChange(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, was+" ") })
	write(t, file, was)
	w.expect(t)
	for how, change := range map[string]func(){
		"touched":                   func() { must(t, os.Chtimes(file, time.Now(), time.Now())) },
		"its mode":                  func() { must(t, os.Chmod(file, 0o640)) },
		"the same bytes":            func() { write(t, file, was) },
		"the same bytes, renamed":   func() { replace(t, file, was) },
		"away and back":             func() { must(t, os.Rename(file, file+"~")); must(t, os.Rename(file+"~", file)) },
		"empty for a while":         func() { must(t, os.Truncate(file, 0)); pause(silence); write(t, file, was) },
		"gone for a while":          func() { must(t, os.Remove(file)); pause(silence); write(t, file, was) },
		"other files beside it":     func() { write(t, file+".swp", "x"); must(t, os.Remove(file+".swp")) },
		"now a link to the same":    func() { write(t, file+".2", was); link(t, file+".2", file) },
		"the same in another place": func() { write(t, file+".3", was); link(t, file+".3", file) },
	} {
		change()
		select {
		case <-w.Changed():
			t.Errorf("%s: told as a change", how)
		case <-time.After(silence):
		}
	}
}

func TestFileThatStaysAway(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, becomes) })
	start := time.Now()
	must(t, os.Remove(file))
	w.expect(t)
	if took := time.Since(start); took < 1500*time.Millisecond {
		t.Errorf("told after %v, when it might have come back", took)
	}
	w.followAll()
	w.expectNothing(t)
	write(t, file, "")
	w.expect(t)
	must(t, os.Remove(file)) // an empty file is good, one that is missing isn't
	w.expect(t)
}

func TestDirectoryThatIsMissingAtFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a", "b", "foreman.toml")
	w := startWatch(t, file)
	w.expectNothing(t)
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o700))
	w.expectNothing(t)
	must(t, os.Mkdir(filepath.Join(dir, "a", "b"), 0o700))
	write(t, file, was)
	w.expect(t)
	must(t, os.RemoveAll(filepath.Join(dir, "a")))
	w.expect(t)
	must(t, os.MkdirAll(filepath.Dir(file), 0o700))
	write(t, file, was)
	w.expect(t)
}

// A file that never rests is told of all the same.
func TestEndlessWriting(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, becomes) })
	start := time.Now()
	for i := 0; ; i++ {
		write(t, file, fmt.Sprint(was, "# ", i))
		select {
		case <-w.Changed():
			if took := time.Since(start); took < time.Second {
				t.Errorf("told after %v, in the middle of the writing", took)
			}
			return
		case <-time.After(50 * time.Millisecond):
			if time.Since(start) > soon {
				t.Fatal("it wasn't told")
			}
		}
	}
}

func TestManySavesAtOnceAreOneChange(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, becomes) })
	for i := range 20 {
		replace(t, file, fmt.Sprint(was, "# ", i))
	}
	w.expect(t)
	w.expectNothing(t)
}

// A file beside it that never rests puts nothing off.
func TestBusyNeighbor(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, becomes) })
	write(t, file, was)
	for start := time.Now(); ; {
		write(t, file+".log", time.Now().String())
		select {
		case <-w.Changed():
			return
		case <-time.After(20 * time.Millisecond):
			if time.Since(start) > time.Second {
				t.Fatal("it wasn't told")
			}
		}
	}
}

func TestChangesThatNobodyTakesAreOne(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, becomes) })
	for _, text := range []string{was, becomes, was} {
		write(t, file, text)
		pause(silence)
	}
	w.expect(t)
	w.expectNothing(t)
}

func TestSecretsAreWatched(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	token := filepath.Join(t.TempDir(), "token")
	write(t, file, "[target]\ntoken = { file = '"+token+"' }")
	w := startWatch(t, file) // the token isn't there, and the file refused
	w.expectNothing(t)
	write(t, token, "old")
	w.expect(t)
	w.followAll()
	w.expectNothing(t)
	replace(t, token, "new")
	w.expect(t)
	write(t, file, was)
	w.expect(t)
	w.followAll() // and the token no more
	w.expectNothing(t)
	write(t, token, "newer")
	w.expectNothing(t)
}

// What happens between the reading of a file and Follow isn't lost.
func TestChangeBeforeFollow(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, was+" ") })
	read, err := config.Load(file, environ())
	must(t, err)
	write(t, file, becomes)
	w.expect(t)
	w.Follow(read.Files())
	w.expect(t)
}

func TestChangeIsToldSoon(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, becomes) })
	var took []time.Duration
	for i := range 15 {
		start := time.Now()
		replace(t, file, fmt.Sprint(was, "# ", i))
		w.expect(t)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > 250*time.Millisecond {
		t.Errorf("a change is told after %v, %v", median, took)
	}
}

func TestFollowBeforeRunAndAfter(t *testing.T) {
	t.Parallel()
	w := config.NewWatcher(slog.New(slog.NewTextHandler(io.Discard, nil)))
	for range 3 {
		w.Follow([]config.File{{Path: "/does/not/exist"}})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	for range 3 {
		w.Follow(nil)
	}
}
