package riverstore

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
)

// BenchmarkMillion measures a store in which a million jobs of fifty models
// wait. To fill it takes some minutes:
//
//	go test -run - -bench Million -benchtime 3000x -timeout 30m ./core/jobs/riverstore
func BenchmarkMillion(b *testing.B) {
	s, err := Open(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	before := resident(b)
	s.fill(b, 1_000_000)
	var last core.Job
	b.Run("Insert", func(b *testing.B) {
		quantiles(b, func(i int) (err error) {
			job := manyJob(i)
			job.IdempotencyKey = job.ID
			last, _, err = s.Insert(b.Context(), job, make([]byte, 500))
			return err
		})
		b.ReportMetric(float64(resident(b)-before)/1e3, "MB-more")
	})
	b.Run("Heads", func(b *testing.B) {
		quantiles(b, func(int) error { _, _, err := s.Heads(b.Context(), time.Now(), 1); return err })
	})
	b.Run("Ahead", func(b *testing.B) {
		quantiles(b, func(int) error { _, err := s.Ahead(b.Context(), last); return err })
	})
}

// manyJob is one of many, of fifty models and each priority.
func manyJob(i int) core.Job {
	now := time.Now().UTC()
	return core.Job{
		ID: ulid.Make().String(), State: core.JobQueued, Model: fmt.Sprintf("model%d:7b", i%50), Path: "/api/chat",
		Priority: core.Priority(i%3 - 1), CreatedAt: now, Attempts: []core.Attempt{},
	}
}

// fill inserts n jobs, thousands in a transaction.
func (s *Store) fill(b *testing.B, n int) {
	const together = 5000
	for from := 0; from < n; from += together {
		err := s.change(b.Context(), func(tx *txn) error {
			for i := range together {
				job := manyJob(from + i)
				model, err := core.ParseModelName(job.Model)
				if err != nil {
					return err
				}
				if err := tx.insert(b.Context(), job, queueName(model), make([]byte, 500)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// quantiles reports how long do takes.
func quantiles(b *testing.B, do func(i int) error) {
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := do(len(took)); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
}

// resident is this process's memory in kB, where the system tells.
func resident(b *testing.B) (kB int) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if n, err := fmt.Sscanf(line, "VmRSS: %d", &kB); n == 1 && err == nil {
			return kB
		}
	}
	b.Log("this system doesn't tell how much memory is resident")
	return 0
}
