//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

func TestE2EAWebPageIsNoOllama(t *testing.T) {
	ollamaBin(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html><title>my router</title>")
	}))
	defer page.Close()
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: page.URL, Poll: fastPoll})
	if result := mustExit(t, f, exitCantTell, "inventory"); !strings.Contains(result.Stderr, "a web page, not Ollama's API") {
		t.Errorf("inventory doesn't say what is wrong: %s", result.Stderr)
	}
	f.Start()
	awaitHealth(t, f, soon, func(h testkit.Health) error {
		if h.Status != "degraded" || h.LastPoll.Reason != "wrong_target" || h.Inventory.Models != 0 {
			return fmt.Errorf("want wrong_target: %+v", h)
		}
		return nil
	})
	mustExit(t, f, exitCantTell, "validate", "tiny")
}

func TestE2EPortInUse(t *testing.T) {
	_, f := bringUp(t)
	second := mustExit(t, f, exitUsage, "serve")
	if lines := sortedLines(second.Stderr); len(lines) != 1 || !strings.Contains(lines[0], " is taken: stop what listens there") {
		t.Errorf("the second daemon says %q", second.Stderr)
	}
	if err := healthy(f.Health()); err != nil {
		t.Errorf("the first one minds: %v", err)
	}
}
