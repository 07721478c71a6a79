//go:build unix

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

func TestE2EStockCommandsPrintTheSame(t *testing.T) {
	o, f := bringUp(t)
	load(t, o, "tiny", `"5m"`)
	load(t, o, "tiny-loop", "-1")
	getFresh(t, f, "/api/ps")
	for _, args := range [][]string{
		{"list"}, {"list", "tiny"}, {"ps"}, {"show", "tiny"}, {"show", "me/tiny:v1"}, {"show", "--modelfile", "tiny-tools"}, {"--version"},
	} {
		// Times are told relative to now, and may tick between the two runs.
		testkit.Await(t, soon, fmt.Sprintf("the same from ollama %q", args), func() error {
			want, wantWords, wantErr := o.Run(o.URL, args...)
			got, gotWords, gotErr := o.Run(f.URL, args...)
			if wantErr != nil || gotErr != nil {
				return fmt.Errorf("error %v %s; from foreman %v %s", wantErr, wantWords, gotErr, gotWords)
			}
			// Ollama's order of models of one second changes from call to call.
			if diff := cmp.Diff(sortedLines(want), sortedLines(got)); diff != "" {
				return fmt.Errorf("-Ollama +foreman:\n%s", diff)
			}
			return nil
		})
	}
	resident, _, err := o.Run(f.URL, "ps")
	if err != nil || !strings.Contains(resident, "Forever") || len(sortedLines(resident)) != 3 {
		t.Errorf("ollama ps doesn't show one that unloads and one that is pinned: %v\n%s", err, resident)
	}
}

func TestE2EStockCommandsOfAnAwayTarget(t *testing.T) {
	o, f := bringUp(t)
	want, _, err := o.Run(f.URL, "show", "tiny")
	if err != nil {
		t.Fatal(err)
	}
	o.Kill()
	mustDegrade(t, f, "refused")
	got, words, err := o.Run(f.URL, "show", "tiny")
	if err != nil {
		t.Errorf("show of a model that was shown before: %v %s", err, words)
	}
	mustEqual(t, "ollama show tiny", want, got)
	if got, words, err := o.Run(f.URL, "list"); err != nil || len(sortedLines(got)) != len(testkit.Names)+1 {
		t.Errorf("ollama list: %v %s\n%s", err, words, got)
	}
	if _, words, err := o.Run(f.URL, "show", "tiny-loop"); err == nil || !strings.Contains(words, "foreman can't reach its target: refused") {
		t.Errorf("show of a model that wasn't: %v %s", err, words)
	}
}

func TestE2EManagementIsDeniedUnlessAllowed(t *testing.T) {
	o, f := bringUp(t)
	for _, args := range [][]string{{"pull", "x"}, {"cp", "tiny", "y"}, {"run", "x"}} {
		out, words, err := o.Run(f.URL, args...)
		if err == nil || !strings.Contains(words, "foreman doesn't manage models here: run this on the target itself") {
			t.Errorf("ollama %q: %v, and says\n%s%s", args, err, out, words)
		}
	}
	if status := remove(t, f, "tiny"); status != http.StatusForbidden {
		t.Errorf("DELETE /api/delete answers %d, want 403", status)
	}
	mustEqual(t, "the models", len(testkit.Names), len(objects(t, getFresh(t, f, "/api/tags").Body, "models")))
}

func TestE2EManagementAllowed(t *testing.T) {
	o := testkit.StartOllama(t, ollamaBin(t))
	f := serveFor(t, testkit.Settings{Target: o.URL, Server: "management = true", Poll: `interval = "1h"`})
	lists := func(name string) error {
		out, words, err := o.Run(f.URL, "list")
		if err != nil {
			return fmt.Errorf("%w: %s", err, words)
		}
		if !strings.Contains(out, name) {
			return fmt.Errorf("no %s in\n%s", name, out)
		}
		return nil
	}
	// The daemon polls once an hour, so what it lists it has looked up because
	// of what it passed on.
	if out, words, err := o.Run(f.URL, "cp", "tiny", "me/copied:v9"); err != nil {
		t.Errorf("ollama cp: %v\n%s%s", err, out, words)
	}
	testkit.Await(t, soon, "the copy is listed", func() error { return lists("me/copied:v9") })
	if out, words, err := o.Run(f.URL, "rm", "me/copied:v9"); err != nil {
		t.Errorf("ollama rm: %v\n%s%s", err, out, words)
	}
	testkit.Await(t, soon, "the copy isn't listed", func() error {
		if err := lists("me/copied:v9"); err == nil {
			return fmt.Errorf("it is")
		}
		return lists("tiny2")
	})
}

// remove asks foreman to delete a model, and returns the answer's status.
func remove(t *testing.T, f *testkit.Foreman, model string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, f.URL+"/api/delete", strings.NewReader(fmt.Sprintf(`{"model":%q}`, model)))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestE2EListsAreTheTargetsOwn(t *testing.T) {
	o, f := bringUp(t)
	const namespaced = "hf.co/me/Tiny-GGUF:Q8_0"
	o.Create(namespaced)
	load(t, o, "tiny", "-1")
	for route, array := range map[string]string{"/api/tags": "models", "/api/ps": "models", "/v1/models": "data"} {
		got := getFresh(t, f, route)
		want, err := testkit.Get(t.Context(), o.URL+route)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, route, objects(t, want.Body, array), objects(t, got.Body, array))
		mustEqual(t, "Content-Type of "+route, want.Header.Get("Content-Type"), got.Header.Get("Content-Type"))
		if etag := got.Header.Get("Etag"); etag == "" {
			t.Errorf("%s has no ETag", route)
		} else if again, err := f.Get(route, "If-None-Match", etag); err != nil || again.Status != http.StatusNotModified {
			t.Errorf("%s again: %d, %v; want 304", route, again.Status, err)
		}
	}
	listed, err := testkit.Get(t.Context(), o.URL+"/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	entries := objects(t, listed.Body, "data")
	for _, id := range append(slices.Clone(testkit.Names), namespaced) {
		for _, path := range []string{id, strings.ReplaceAll(id, "/", "%2F")} {
			one, err := f.Get("/v1/models/" + path)
			if err != nil || one.Status != http.StatusOK || !slices.Contains(entries, string(one.Body)) {
				t.Errorf("/v1/models/%s: %d %s, %v; it is none of Ollama's\n%s", path, one.Status, one.Body, err, entries)
			}
		}
	}
}
