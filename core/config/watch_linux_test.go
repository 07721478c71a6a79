package config_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A bind mount or a network file system changes a file without an event. So
// does a mapping of it into memory.
func TestChangeWithoutAnEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 seconds")
	}
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, was+" ") })
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	mapped, err := syscall.Mmap(int(f.Fd()), 0, len(was), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(t, err)
	copy(mapped, becomes)
	must(t, syscall.Munmap(mapped))
	select {
	case <-w.Changed():
	case <-time.After(2 * soon):
		t.Fatal("the change wasn't told")
	}
}

// A pipe that was put in the file's place isn't read, which might never end.
func TestPipe(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	w := startWatch(t, file)
	w.arrive(t, func() { write(t, file, was+" ") })
	must(t, syscall.Mkfifo(file+".new", 0o600))
	must(t, os.Rename(file+".new", file))
	w.expectNothing(t)
	replace(t, file, becomes)
	w.expect(t)
}

// Not parallel: it counts what this process has open.
func TestRunLeavesNothingOpen(t *testing.T) {
	file := newFile(t)
	before := openFiles(t)
	for range 8 {
		w := startWatch(t, file)
		w.arrive(t, func() { write(t, file, was+" ") })
		write(t, file, was)
		w.stop()
		w.stop = func() {}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d open files became %d", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(open)
}

// insideEnv is set in a test process that has a limit of its own.
const insideEnv = "FOREMAN_CONFIG_INSIDE"

// Where the system gives no watches, or none for this directory, changes are
// found all the same.
func TestSystemWithoutWatches(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideEnv) != "" {
		must(t, os.WriteFile(filepath.Join("/proc/sys/user", os.Getenv(insideEnv)), []byte("0"), 0o600))
		file := newFile(t)
		w := startWatch(t, file)
		w.expectNothing(t)
		write(t, file, becomes)
		w.expect(t)
		must(t, os.RemoveAll(filepath.Dir(file)))
		w.expect(t)
		return
	}
	self, err := os.Executable()
	must(t, err)
	for _, limit := range []string{"max_inotify_instances", "max_inotify_watches"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestSystemWithoutWatches$", "-test.v", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), insideEnv+"="+limit)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Skipf("this system gives a test no limits of its own: %v", err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if warnings := bytes.Count(said.Bytes(), []byte("level=WARN")); warnings != 1 {
				t.Errorf("%d warnings, not one:\n%s", warnings, said.Bytes())
			}
		})
	}
}
