package daemon_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// spoils is a target whose chats are answered by chat; else it is well.
func spoils(t *testing.T, chat http.HandlerFunc) (url string) {
	mux := http.NewServeMux()
	mux.Handle("/", sim.New(sim.Options{Models: []sim.Model{{Name: "a"}}, Instant: true}).Handler())
	mux.HandleFunc("POST /api/chat", chat)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestAJobThatNeverEndsIsCutOff(t *testing.T) {
	cut := make(chan struct{})
	url := spoils(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("{}\n"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(cut)
	})
	l := reloadable(t, "[target]\nurl = %q\n[jobs]\nmax_run = '1s'\n", url)
	f := newFront(t, l.URL(), l.client)
	id, err := f.Submit(t.Context(), core.JobRequest{Path: "/api/chat", Body: []byte(chatOf("a", "endless"))})
	if err != nil {
		t.Fatal(err)
	}
	f.awaitState(id, core.JobFailed)
	<-cut
	if job, err := f.Job(t.Context(), id); err != nil || !strings.Contains(job.Error, "jobs.max_run") {
		t.Errorf("it failed as %q, %v", job.Error, err)
	}
}

// A target that breaks off each answer, though it lives, isn't away.
func TestATargetThatLivesUsesTheAttemptsUp(t *testing.T) {
	url := spoils(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	l := reloadable(t, "[target]\nurl = %q\n[jobs]\nmax_attempts = 2\n", url)
	f := newFront(t, l.URL(), l.client)
	id, err := f.Submit(t.Context(), core.JobRequest{Path: "/api/chat", Body: []byte(chatOf("a", "poison"))})
	if err != nil {
		t.Fatal(err)
	}
	f.awaitState(id, core.JobFailed)
	job, err := f.Job(t.Context(), id)
	if err != nil || len(job.Attempts) != 2 || slices.ContainsFunc(job.Attempts, func(a core.Attempt) bool { return !a.Counts }) {
		t.Errorf("its attempts are %+v, %v", job.Attempts, err)
	}
}
