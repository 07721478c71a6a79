//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/testkit"
)

// chores are work for three models of which no two share a runner. %q is the
// job's tag.
var chores = []struct{ path, body string }{
	{"/api/chat", `{"model":"tiny","tag":%q,"messages":[{"role":"user","content":"hi"}]}`},
	{"/api/generate", `{"model":"tiny-loop","tag":%q,"prompt":"go","options":{"num_predict":200}}`},
	{"/api/embed", `{"model":"tiny-embed","tag":%q,"input":"a word"}`},
}

// mostTurns is how often an evening with a stop of the target and one of foreman
// may change models: to each of them once, once more because the target comes
// back with an empty memory, and because foreman doesn't remember whose turn it
// was.
const mostTurns = 3 + 1 + 1

// TestE2EEvening is a laptop's evening: jobs for three models come interleaved,
// the target goes away for a while, and foreman is killed.
func TestE2EEvening(t *testing.T) {
	bin := ollamaBin(t)
	address, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	o := testkit.StartOllamaOn(t, bin, address, "env", "OLLAMA_MAX_LOADED_MODELS=1")
	s := newScribe()
	front := httptest.NewServer(s.wrap(passOn(t, o.URL)))
	t.Cleanup(front.Close)
	f := serveFor(t, testkit.Settings{Target: front.URL, Poll: fastPoll})
	client := clientOf(f)

	const count = 30
	tags := map[string]string{} // by job
	for n := range count {
		chore, tag := chores[n%len(chores)], fmt.Sprint("job ", n)
		tags[mustSubmit(t, client, chore.path, fmt.Sprintf(chore.body, tag))] = tag
	}
	awaitDone(t, client, 4)
	o.Stop()
	mustDegrade(t, f, "reset", "timeout")
	o.Restart()
	awaitDone(t, client, count/2)
	f.Signal(syscall.SIGKILL)
	f.AwaitEnd(time.Second, goneSoon)
	f.Start()
	awaitDone(t, client, count)

	extra := 0
	for id, tag := range tags {
		extra += len(s.whole(tag)) - 1
		mustBeDoneOnce(t, client, id, s.whole(tag))
	}
	if extra > 1 {
		t.Errorf("the target answered %d times more than there were jobs: one may have run when foreman was killed", extra)
	}
	turns := s.turns()
	t.Logf("the models had their turns in the order %v", turns)
	if len(turns) > mostTurns {
		t.Errorf("that are %d turns, want at most %d", len(turns), mostTurns)
	}
}

// goneSoon is how long what a killed foreman started may outlive it.
const goneSoon = 2 * time.Second

// passOn is a way to a target. While that is away so is the way.
func passOn(t *testing.T, to string) *httputil.ReverseProxy {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     callers(t, 100).Transport,
		FlushInterval: -1,
		ErrorHandler:  hangUp,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
}

// awaitDone waits until so many jobs are done.
func awaitDone(t *testing.T, client *api.Client, count int) {
	t.Helper()
	testkit.Await(t, time.Minute, fmt.Sprintf("%d jobs are done", count), func() error {
		queue, err := client.Queue(t.Context())
		if err == nil && queue.Jobs[core.JobDone] < count {
			err = fmt.Errorf("the jobs are %v", queue.Jobs)
		}
		return err
	})
}

// mustBeDoneOnce wants a job done, in one attempt and with one of the answers
// as its result, byte for byte, which it returns.
func mustBeDoneOnce(t *testing.T, client *api.Client, id string, answers [][]byte) []byte {
	t.Helper()
	job, err := client.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, attempt := range job.Attempts {
		if attempt.Reason == "" {
			good++
		}
	}
	if job.State != core.JobDone || good != 1 || job.Error != "" {
		t.Errorf("job %s ended %s with %q after %+v", id, job.State, job.Error, job.Attempts)
	}
	var result bytes.Buffer
	if _, err := client.Result(t.Context(), id, &result); err != nil {
		t.Errorf("job %s: %v", id, err)
	}
	if !slices.ContainsFunc(answers, func(answer []byte) bool { return bytes.Equal(answer, result.Bytes()) }) {
		t.Errorf("the result of job %s is %q, and the target had sent %q", id, result.Bytes(), answers)
	}
	return result.Bytes()
}

// mustSubmit submits a job to a path.
func mustSubmit(t *testing.T, client *api.Client, path, body string) (id string) {
	t.Helper()
	id, err := client.Submit(t.Context(), core.JobRequest{Path: path, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return id
}
