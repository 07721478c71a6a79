package riverstore

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
)

func openInside(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *Store) insertOne(t *testing.T, size int) (core.Job, error) {
	job := core.Job{ID: ulid.Make().String(), Model: "tiny", Path: "/api/chat", CreatedAt: time.Now()}
	job, _, err := s.Insert(t.Context(), job, make([]byte, size))
	return job, err
}

// Whatever is asked while many jobs wait, an index leads to it.
func TestPlans(t *testing.T) {
	s := openInside(t)
	queries := map[string]string{
		"heads": headsQuery, "ahead": aheadQuery, "next": nextQuery, "due": dueQuery, "expired": expiredQuery,
		"owned": ownedQuery, "cancelled": cancelledQuery, "untold": untoldQuery, "old": oldQuery, "key": keyQuery,
	}
	for name, query := range map[string]core.JobQuery{
		"list": {}, "list by state": {State: core.JobDone}, "list by model": {Model: "tiny"},
		"list by both": {State: core.JobDone, Model: "tiny", Cursor: "a"},
	} {
		queries[name], _ = listQuery(query)
	}
	for name, query := range queries {
		plan := s.plan(t, query)
		for step := range strings.Lines(plan) {
			scans := strings.HasPrefix(step, "SCAN foreman_job") && name != "list" || strings.HasPrefix(step, "SCAN head")
			sorts := strings.Contains(step, "TEMP B-TREE") && name != "heads" // they are few
			if scans || sorts {
				t.Errorf("%s is looked up so:\n%s", name, plan)
			}
		}
	}
}

// plan is how SQLite would answer a query, a line a step.
func (s *Store) plan(t *testing.T, query string) string {
	t.Helper()
	rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, "a", "b", "c", "d")
	if err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

func TestFullDisk(t *testing.T) {
	s := openInside(t)
	first, err := s.insertOne(t, 100)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		if _, err := s.write.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // what there is already
	_, err = s.insertOne(t, 1<<20)
	if !errors.Is(err, core.ErrDiskFull) || !strings.Contains(err.Error(), "the disk of "+s.path+" is full: make room on it") {
		t.Errorf("on a full disk: %v", err)
	}
	if _, err := s.Get(t.Context(), first.ID); err != nil {
		t.Errorf("what was kept before: %v", err)
	}
	limit(1 << 30)
	if _, err := s.insertOne(t, 1<<20); err != nil {
		t.Errorf("once there is room: %v", err)
	}
	if counts, err := s.Counts(t.Context()); counts[core.JobQueued] != 2 {
		t.Errorf("%d jobs wait of 2, %v", counts[core.JobQueued], err)
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.write.Exec(`UPDATE foreman_schema SET version = 99`)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "a newer foreman (schema 99, this one knows 1)") {
		t.Errorf("it is opened with %v", err)
	}
}

// River's own rule for names is in its insert_opts.go and client.go.
var riversRule = regexp.MustCompile(`^(?:[a-z0-9])+(?:[_|\-]?[a-z0-9]+)*$`)

func TestQueueNames(t *testing.T) {
	long := strings.Repeat("a", 80)
	seen := map[string]string{}
	for _, model := range []string{
		"tiny", "tiny:7b", "tiny7b", "ti-ny", "ti_ny", "ti.ny", "_", "x--y__z..1:q4_K_M", "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_0",
		"localhost:5000/me/tiny", long + "/" + long + ":" + long, long + "/" + long + ":b", strings.Repeat("a-", 30) + "a",
	} {
		name, err := core.ParseModelName(model)
		if err != nil {
			t.Fatal(err)
		}
		queue := queueName(name)
		if !riversRule.MatchString(queue) || len(queue) > 64 {
			t.Errorf("%s has the queue %q", model, queue)
		}
		if seen[queue] != "" {
			t.Errorf("%s and %s have the queue %s", model, seen[queue], queue)
		}
		seen[queue] = model
	}
}
