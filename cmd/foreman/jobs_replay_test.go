package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// replayed runs `foreman jobs replay` on a trace of those lines.
func replayed(t *testing.T, c jobsReplayCmd, lines string) (stdout, stderr string, err error) {
	t.Helper()
	c.Trace = filepath.Join(t.TempDir(), "trace.jsonl")
	if err := os.WriteFile(c.Trace, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, words bytes.Buffer
	err = c.Run(&env{stdout: &out, stderr: &words, getenv: os.Getenv})
	return out.String(), words.String(), err
}

const alternating = `{"arrival":0,"model":"a","run":10,"load":5}
{"arrival":1,"model":"b","run":10,"load":4}
{"arrival":2,"model":"a","run":10}
{"arrival":4,"model":"b","run":10.04}
`

func TestJobsReplayTable(t *testing.T) {
	out, words, err := replayed(t, jobsReplayCmd{Parallel: 1, MaxStint: 5 * time.Minute, Output: "table"}, alternating)
	if err != nil {
		t.Fatal(err)
	}
	want := `POLICY    MAKESPAN   SWAPS   WAIT P50   WAIT P99   LONGEST   OF BOUND
foreman   49s        2       28s        35s        35s       3%
fifo      58s        4       32s        44s        44s       4%
optimum   49s        2       28s        35s        35s       3%
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if words != "the optimum is exact: even without a bound on waits no schedule ends earlier\n" {
		t.Errorf("it says %s", words)
	}
}

func TestJobsReplayJSON(t *testing.T) {
	out, words, err := replayed(t, jobsReplayCmd{Parallel: 2, MaxStint: 5 * time.Minute, Output: "json"}, alternating)
	if err != nil || words != "" {
		t.Fatalf("%v, and it says %s", err, words)
	}
	want := `{
  "schema_version": 1,
  "policies": [
    {
      "policy": "foreman",
      "makespan_seconds": 29.04,
      "swaps": 2,
      "wait_p50_seconds": 15,
      "wait_p99_seconds": 18,
      "wait_longest_seconds": 18,
      "of_bound": 0.0186
    },
    {
      "policy": "fifo",
      "makespan_seconds": 58.04,
      "swaps": 4,
      "wait_p50_seconds": 32,
      "wait_p99_seconds": 44,
      "wait_longest_seconds": 44,
      "of_bound": 0.0436
    }
  ],
  "optimum": "bound",
  "least_makespan_seconds": 29.02
}
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A trace from stdin is told by that name.
func TestJobsReplayReadsStdin(t *testing.T) {
	replay := func(lines string) (string, error) {
		var out bytes.Buffer
		c := jobsReplayCmd{Trace: "-", Parallel: 1, MaxStint: 5 * time.Minute, Output: "table"}
		err := c.Run(&env{stdin: strings.NewReader(lines), stdout: &out, stderr: io.Discard, getenv: os.Getenv})
		return out.String(), err
	}
	if out, err := replay(alternating); err != nil || !strings.Contains(out, "\nforeman   49s ") {
		t.Errorf("it says %s, %v", out, err)
	}
	if _, err := replay(alternating + "?"); err == nil || !strings.Contains(err.Error(), "stdin:5: ") {
		t.Errorf("of a bad line it says %v", err)
	}
}

func TestJobsReplayDraws(t *testing.T) {
	file := filepath.Join(t.TempDir(), "picture.svg")
	_, _, err := replayed(t, jobsReplayCmd{Parallel: 1, MaxStint: 5 * time.Minute, Output: "table", SVG: file}, alternating)
	if err != nil {
		t.Fatal(err)
	}
	if picture, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(picture), "<svg ") {
		t.Errorf("%.40s, %v", picture, err)
	}
}

func TestJobsReplayTellsWhatIsWrong(t *testing.T) {
	good := jobsReplayCmd{Parallel: 1, MaxStint: time.Minute, Output: "table"}
	parallel, stint, linger := good, good, good
	parallel.Parallel, stint.MaxStint, linger.Linger = 0, time.Millisecond, -1
	for want, c := range map[string]jobsReplayCmd{
		"trace.jsonl:5: run is -1": good, "--parallel is 0": parallel, "--max-stint is 1ms": stint,
		"--linger is -1ns": linger,
	} {
		_, _, err := replayed(t, c, alternating+`{"arrival":5,"model":"a","run":-1}`)
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, want %s", err, want)
		}
	}
}
