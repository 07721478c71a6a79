package riverstore_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs/riverstore"
)

const node = "n"

// foreman is what TestKilled kills. It takes up what an earlier one left,
// keeps jobs and works on them, and says what is kept, and what is done with
// which result, once the store says that it is.
func foreman(dir string) {
	ctx := context.Background()
	s, err := riverstore.Open(dir, quiet)
	must(err)
	_, err = s.Recover(ctx, node, time.Now())
	must(err)
	go func() {
		for {
			job := core.Job{ID: ulid.Make().String(), Model: "tiny", Path: "/api/chat", CreatedAt: time.Now()}
			_, _, err := s.Insert(ctx, job, []byte(job.ID))
			must(err)
			fmt.Println("kept", job.ID)
		}
	}()
	for {
		heads, _, err := s.Heads(ctx, time.Now(), 1)
		must(err)
		for _, head := range heads {
			job, payload, err := s.Claim(ctx, head.ID, node, time.Now())
			must(err)
			if string(payload) != job.ID {
				panic("the payload of " + job.ID + " is " + string(payload))
			}
			must(s.Working(ctx, job.ID, node))
			answer := rand.Text()
			attempt := core.Attempt{At: *job.StartedAt, EndedAt: time.Now(), Counts: true}
			must(s.Finish(ctx, job.ID, node, core.JobDone, "", &attempt, &core.JobResult{Status: 200, Body: []byte(answer)}))
			fmt.Println("done", job.ID, answer)
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Each foreman is killed while it writes. What one of them said holds for all
// that come later.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	kept, done := map[string]bool{}, map[string]string{}
	for lines := range 8 {
		for _, line := range runUntil(t, dir, 12+4*lines) {
			fields := strings.Fields(line)
			switch {
			case fields[0] == "kept":
				kept[fields[1]] = true
			case done[fields[1]] != "":
				t.Errorf("%s was done twice", fields[1])
			default:
				done[fields[1]] = fields[2]
			}
		}
	}
	s := open(t, dir)
	if _, err := s.Recover(t.Context(), node, time.Now()); err != nil {
		t.Fatal(err)
	}
	for id := range kept {
		job, err := s.Get(t.Context(), id)
		if err != nil {
			t.Errorf("%s was kept: %v", id, err)
			continue
		}
		result, err := s.Result(t.Context(), id)
		switch answer := done[id]; {
		case answer != "" && (job.State != core.JobDone || string(result.Body) != answer):
			t.Errorf("%s was done with %s, and is %s with %q", id, answer, job.State, result.Body)
		case job.State == core.JobQueued && !errors.Is(err, core.ErrJobConflict):
			t.Errorf("%s waits with a result: %v", id, err)
		case job.State != core.JobQueued && job.State != core.JobDone:
			t.Errorf("%s is %s", id, job.State)
		}
	}
	if len(kept) < 50 || len(done) < 20 {
		t.Errorf("only %d were kept and %d done", len(kept), len(done))
	}
}

// runUntil starts a foreman, kills it once it has said so many lines, and
// returns all that it said.
func runUntil(t *testing.T, dir string, lines int) (said []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "foreman", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := bufio.NewScanner(out)
	for all.Scan() {
		said = append(said, all.Text())
		if len(said) == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return said
}
