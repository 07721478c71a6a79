//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/testkit"
)

// awaitJob waits until a job is as wanted.
func awaitJob(t *testing.T, client *api.Client, id string, within time.Duration, want func(core.Job) bool) (job core.Job) {
	t.Helper()
	testkit.Await(t, within, "job "+id, func() (err error) {
		if job, err = client.Job(t.Context(), id); err == nil && !want(job) {
			err = fmt.Errorf("it is %s: %+v", job.State, job)
		}
		return err
	})
	return job
}

func isIn(state core.JobState) func(core.Job) bool {
	return func(job core.Job) bool { return job.State == state }
}

// A target that freezes in the middle of a job is left, and the job runs again
// once the target is back.
func TestE2ETargetFrozenWhileAJobWorks(t *testing.T) {
	t.Parallel()
	o, f := bringUp(t)
	client := clientOf(f)
	id := mustSubmit(t, client, "/api/generate", endless)
	awaitJob(t, client, id, soon, isIn(core.JobWorking))
	next := mustSubmit(t, client, "/api/generate", short)
	o.Pause()
	left := awaitJob(t, client, id, noticed+soon, isIn(core.JobQueued))
	if len(left.Attempts) != 1 || left.Attempts[0].Reason == "" || left.Error == "" {
		t.Errorf("the job was put back as %+v", left)
	}
	o.Resume()
	mustRecover(t, f)
	// It may not get beyond loading: Ollama itself now and then hangs on a model whose stream was cut.
	awaitJob(t, client, id, soon, func(job core.Job) bool { return job.State == core.JobLoading || job.State == core.JobWorking })
	if job, err := client.Cancel(t.Context(), id); err != nil || job.State != core.JobCancelled {
		t.Errorf("cancelled while it runs, the job is %s, %v", job.State, err)
	}
	awaitJob(t, client, next, soon, isIn(core.JobDone))
	load(t, o, "tiny", `"0s"`) // which waits for what the target still works on
}

// A disk that is full takes no more jobs, and keeps those that it has.
func TestE2EJobsOnAFullDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	o := testkit.StartOllama(t, ollamaBin(t))
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: o.URL, Poll: fastPoll})
	if err := os.Mkdir(f.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", f.StateDir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("this system mounts no small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(f.StateDir, syscall.MNT_DETACH) })
	ballast := filepath.Join(f.StateDir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Start()
	awaitHealth(t, f, soon, healthy)
	client := clientOf(f)
	body := fmt.Sprintf(`{"model":"tiny","prompt":"why","stream":false,"system":%q}`, strings.Repeat("x", 200<<10))
	var kept []string
	var err error
	for err == nil && len(kept) < 1000 {
		var id string
		if id, err = client.Submit(t.Context(), core.JobRequest{Path: "/api/generate", Body: []byte(body)}); err == nil {
			kept = append(kept, id)
		}
	}
	refusal, ok := errors.AsType[*api.Refusal](err)
	if !ok || refusal.Status != http.StatusInternalServerError && refusal.Status != http.StatusInsufficientStorage && refusal.Status != http.StatusServiceUnavailable {
		t.Fatalf("after %d jobs a submit ends with %v", len(kept), err)
	}
	t.Logf("after %d jobs a submit is answered %d %s", len(kept), refusal.Status, refusal.Sentence)
	if !strings.Contains(f.Log(), "is full: make room on it") {
		t.Error("the log doesn't say what to do")
	}
	resp, err := http.Post(f.URL+"/api/generate", "application/json", strings.NewReader(short))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a caller is answered %s %s, %v", resp.Status, text, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for _, id := range kept {
		awaitJob(t, client, id, time.Minute, isIn(core.JobDone))
	}
	awaitJob(t, client, mustSubmit(t, client, "/api/generate", short), soon, isIn(core.JobDone))
}

// A job may be as large as a request, and no larger. The target takes as much;
// with what foreman adds, that its model is to stay, a job mustn't exceed that.
func TestE2EHugeJobs(t *testing.T) {
	tg := newTarget(t)
	f := serveFor(t, testkit.Settings{Target: tg.URL, Poll: fastPoll})
	client := clientOf(f)
	huge := func(size int) core.JobRequest {
		head, tail := `{"model":"llama3.2","prompt":"`, `"}`
		return core.JobRequest{Path: "/api/generate", Body: bytes.Join([][]byte{[]byte(head), []byte(tail)}, bytes.Repeat([]byte("x"), size-len(head)-len(tail)))}
	}
	const most = 64 << 20
	id, err := client.Submit(t.Context(), huge(most-64))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Submit(t.Context(), huge(most+1))
	if refusal, ok := errors.AsType[*api.Refusal](err); !ok || refusal.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a job too large: %v", err)
	}
	awaitJob(t, client, id, time.Minute, isIn(core.JobDone))
}
