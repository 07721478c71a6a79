//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

func TestE2EChangedIntervalShowsInHealth(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	f := serveFor(t, testkit.Settings{Target: o.URL, Poll: `interval = "30s"`})
	plugin := f.PluginPid()
	edit(t, f, `interval = "30s"`, `interval = "7s"`)
	testkit.Await(t, soon, "the new interval", func() error {
		if health := healthOf(t, f); health.PollInterval != 7 {
			return fmt.Errorf("it is %v s", health.PollInterval)
		}
		return nil
	})
	if f.PluginPid() != plugin {
		t.Error("the plugin was restarted")
	}

	edit(t, f, `interval = "7s"`, `intervall = "7s"`)
	testkit.Await(t, soon, "the rejection", func() error {
		problem := healthOf(t, f).Config.Error
		if problem == nil || problem.File != f.Config || problem.Line == 0 || problem.Key != "poll.intervall" {
			return fmt.Errorf("it is %+v", problem)
		}
		return nil
	})
	if health := healthOf(t, f); health.PollInterval != 7 {
		t.Errorf("the interval is %v s after a file that was rejected", health.PollInterval)
	}
}

// A stream that has begun goes on with the target of its time, while another
// Ollama takes over for all others.
func TestE2EAnotherOllamaTakesOver(t *testing.T) {
	bin := ollamaBin(t)
	old, other := testkit.StartOllama(t, bin), testkit.StartOllama(t, bin)
	other.Create("only-there")
	f := serveFor(t, testkit.Settings{Target: old.URL, Poll: fastPoll})

	resp, err := http.Post(f.URL+"/api/generate", "application/json", strings.NewReader(`{"model":"tiny-loop","prompt":"go","options":{"num_predict":-1}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	goesOn := func() {
		t.Helper()
		for range 10 {
			if !lines.Scan() || !strings.Contains(lines.Text(), `"done":false`) {
				t.Fatalf("the stream has ended: %q, %v", lines.Text(), lines.Err())
			}
		}
	}
	goesOn()
	edit(t, f, old.URL, other.URL)
	testkit.Await(t, soon, "the other's models", func() error {
		answer, err := f.Get("/api/tags")
		if err == nil && !strings.Contains(string(answer.Body), `"only-there:latest"`) {
			err = fmt.Errorf("they are %s", answer.Body)
		}
		return err
	})
	goesOn()
	mustExit(t, f, exitYes, "validate", "only-there")
}

// edit changes the config in place, as a hasty editor does.
func edit(t *testing.T, f *testkit.Foreman, from, to string) {
	t.Helper()
	text, err := os.ReadFile(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), from, to, 1)
	if changed == string(text) {
		t.Fatalf("the config has no %s", from)
	}
	if err := os.WriteFile(f.Config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}
