package riverstore_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs/riverstore"
)

// insert keeps a job of that model.
func insert(t *testing.T, s *riverstore.Store, model string) core.Job {
	t.Helper()
	job := core.Job{ID: ulid.Make().String(), Model: model, Path: "/api/chat", CreatedAt: time.Now()}
	job, _, err := s.Insert(t.Context(), job, []byte(`{"messages":"secret"}`))
	if err != nil {
		t.Fatalf("Insert: %v", err)
	}
	return job
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "a b?c=1&d%20#e")
	s, err := riverstore.Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	job := insert(t, s, "tiny")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "jobs.db")); err != nil || info.Size() == 0 {
		t.Errorf("the file is %v, %v", info, err)
	}
	s = open(t, dir)
	got, err := s.Get(t.Context(), job.ID)
	if diff := cmp.Diff(job, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	insert(t, s, "tiny")
	if counts, err := s.Counts(t.Context()); counts[core.JobQueued] != 2 {
		t.Errorf("counts are %v, %v", counts, err)
	}
}

func TestFilesAreForemansAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	insert(t, open(t, dir), "tiny")
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info.Mode(), err)
	}
	files, err := filepath.Glob(dir + "/*")
	if err != nil || len(files) < 3 {
		t.Errorf("the files are %v, %v", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v, %v", file, info.Mode(), err)
		}
	}
}

// refused is the sentence with which dir isn't opened.
func refused(t *testing.T, dir string) string {
	t.Helper()
	s, err := riverstore.Open(dir, quiet)
	if err == nil {
		t.Fatalf("it is opened; %v", s.Close())
	}
	return err.Error()
}

func TestAnotherForeman(t *testing.T) {
	dir := t.TempDir()
	s, err := riverstore.Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	job := insert(t, s, "tiny")
	if got := refused(t, dir); !strings.Contains(got, "another foreman keeps its jobs in "+dir) {
		t.Errorf("it is refused with %q", got)
	}
	if _, err := s.Get(t.Context(), job.ID); err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func(file []byte) []byte{
		"text":         func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 1000)) },
		"half of it":   func(file []byte) []byte { return file[:len(file)/2] },
		"zeros inside": func(file []byte) []byte { clear(file[4096:]); return file },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := riverstore.Open(dir, quiet)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "jobs.db")
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(file), 0o600); err != nil {
				t.Fatal(err)
			}
			got := refused(t, dir)
			if !strings.Contains(got, path+" is damaged: stop foreman") || strings.Contains(got, "\n") {
				t.Errorf("it is refused with %q", got)
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "jobs.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, dir); !strings.Contains(got, "open the job store") || !strings.Contains(got, "is a directory") {
		t.Errorf("it is refused with %q", got)
	}
}

// A caller who leaves doesn't harm those who come later.
func TestCallersWhoLeave(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
		job := core.Job{ID: ulid.Make().String(), Model: "tiny", Path: "/api/chat", CreatedAt: time.Now()}
		_, _, err := s.Insert(ctx, job, nil)
		cancel()
		if _, found := s.Get(t.Context(), job.ID); err == nil && found != nil {
			t.Errorf("it is kept, and %v", found)
		}
	}
	job := insert(t, s, "tiny")
	page, _, err := s.List(t.Context(), core.JobQuery{Limit: 100})
	counts, _ := s.Counts(t.Context())
	if err != nil || page[0].ID != job.ID || counts[core.JobQueued] != len(page) {
		t.Errorf("%d are listed of %d, %v", len(page), counts[core.JobQueued], err)
	}
}
