package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

func TestPSTable(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	got := psTable([]core.Resident{
		{Name: "gpu", Digest: "0123456789abcdef", Size: 2e9, SizeVRAM: 2e9, ContextLength: 8192, ExpiresAt: in(4 * time.Minute)},
		{Name: "both", Digest: "0123", Size: 100e9, SizeVRAM: 77e9, ContextLength: 4096, ExpiresAt: in(time.Hour)},
		{Name: "cpu", Size: 5e5, ExpiresAt: in(-time.Minute)},
		{Name: "odd", Size: 1, SizeVRAM: 2, ExpiresAt: in(59 * time.Second)},
		{Name: "pinned", ExpiresAt: in(290 * 365 * 24 * time.Hour)},
	}, now)
	want := [][]string{
		{"NAME", "ID", "SIZE", "PROCESSOR", "VRAM", "CONTEXT", "UNLOADS"},
		{"gpu", "0123456789ab", "2.0 GB", "100% GPU", "2.0 GB", "8192", "in 4 minutes"},
		{"both", "0123", "100 GB", "23%/77% CPU/GPU", "77 GB", "4096", "in 1 hour"},
		{"cpu", "-", "500 kB", "100% CPU", "0 B", "-", "now"},
		{"odd", "-", "1 B", "Unknown", "2 B", "-", "in 59 seconds"},
		{"pinned", "-", "0 B", "-", "0 B", "-", "never"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// watched runs --watch into a pipe, with one of looks for each look, the last
// for all that follow, until a minute has passed.
func watched(t *testing.T, looks ...any) (stdout, stderr string, err error) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var out, words bytes.Buffer
		e := &env{stdout: &out, stderr: &words, getenv: os.Getenv}
		err = (&psCmd{Output: "table"}).watch(ctx, e, func() (residency, error) {
			look := looks[0]
			looks = looks[min(1, len(looks)-1):]
			if err, failed := look.(error); failed {
				return residency{}, err
			}
			list := residency{listing: listing[core.Resident]{origin: origin{source: sourceTarget, asOf: time.Now()}}}
			for _, name := range look.([]string) {
				list.models = append(list.models, core.Resident{Name: name, ExpiresAt: time.Now().Add(time.Minute)})
			}
			return list, nil
		})
		stdout, stderr = out.String(), words.String()
	})
	return stdout, stderr, err
}

func TestWatchPrintsWhatChanges(t *testing.T) {
	a, ab := []string{"a"}, []string{"a", "b"}
	out, words, err := watched(t, a, a, ab, ab, a)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Fields(line)[0])
	}
	if diff := cmp.Diff([]string{"NAME", "a", "NAME", "a", "b", "NAME", "a"}, rows); diff != "" {
		t.Errorf("it printed\n%s%s", out, diff)
	}
	if n := strings.Count(words, "from the target"); n != 3 {
		t.Errorf("it told %d times where the list is from:\n%s", n, words)
	}
}

func TestWatchPrintsAQueueThatChanges(t *testing.T) {
	looks := []residency{{}, {queue: &api.Queue{}}, {queue: runs("a")}, {queue: runs("a")}, {queue: runs("a", "b")}, {queue: runs("a", "b", "b")}, {}}
	var words bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e := &env{stdout: io.Discard, stderr: &words, getenv: os.Getenv}
		err := (&psCmd{Output: "table"}).watch(ctx, e, func() (residency, error) {
			look := looks[0]
			looks = looks[min(1, len(looks)-1):]
			return look, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	var told []string
	for line := range strings.Lines(words.String()) {
		if !strings.Contains(line, "resident model") {
			told = append(told, strings.TrimSpace(line))
		}
	}
	if diff := cmp.Diff([]string{"a runs", "a runs; next b; 0 swaps to come"}, told); diff != "" {
		t.Error(diff)
	}
}

// runs is a queue in which a model runs and others wait.
func runs(model string, waiting ...string) *api.Queue {
	queue := &api.Queue{Model: model, Running: []api.QueueEntry{{Model: model}}}
	for _, w := range waiting {
		queue.Waiting = append(queue.Waiting, api.QueueEntry{Model: w})
	}
	return queue
}

func TestPSDocumentHasTheQueue(t *testing.T) {
	for want, queue := range map[string]*api.Queue{
		`null`: nil, // nobody knows
		`{"model":"","loading":false,"waiting":[],"swaps":0}`: {},
		`{"model":"a","loading":true,"waiting":["b","c","b"],"swaps":3}`: {
			Model: "a", Loading: true, Swaps: 3, Waiting: []api.QueueEntry{{Model: "b"}, {Model: "B:latest"}, {Model: "c"}, {Model: "b"}},
		},
	} {
		doc, err := json.Marshal(psDocument(residency{queue: queue}, time.Now()))
		if got := gjson.GetBytes(doc, "queue").Raw; got != want || err != nil {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

func TestWatchGoesOnAfterAFailedLook(t *testing.T) {
	away := fmt.Errorf("%w: refused", errCantTell)
	out, words, err := watched(t, []string{"a"}, away, away, []string{"a"})
	if err != nil || strings.Count(out, "NAME") != 2 || strings.Count(words, "refused") != 1 {
		t.Errorf("it ended with %v and printed\n%s%s", err, out, words)
	}
	if _, _, err := watched(t, away); err != away {
		t.Errorf("after a first look that failed it ended with %v", err)
	}
}
