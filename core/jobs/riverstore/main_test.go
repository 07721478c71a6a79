package riverstore_test

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core/jobs"
	"github.com/seed-af7fee88/foreman/core/jobs/jobstest"
	"github.com/seed-af7fee88/foreman/core/jobs/riverstore"
)

// TestMain also is the foreman that a test kills.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "foreman" {
		foreman(os.Args[2])
		return
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

// open opens the store in dir until the test ends.
func open(t *testing.T, dir string) *riverstore.Store {
	t.Helper()
	s, err := riverstore.Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	jobstest.Store(t, func(t *testing.T) jobs.Store { return open(t, t.TempDir()) })
}
