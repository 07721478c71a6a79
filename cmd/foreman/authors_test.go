//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/plugin/plugintest"
	"github.com/seed-af7fee88/foreman/core/testkit"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// authorsDir has plugins as other people write them.
var authorsDir = filepath.Join("..", "..", "testdata", "plugins")

func TestReadmeShowsAWholeNotifier(t *testing.T) {
	program, err := os.ReadFile(filepath.Join(authorsDir, "notifier-go", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(program)+"```\n") {
		t.Error("README.md doesn't show testdata/plugins/notifier-go/main.go as it is")
	}
	written := 0
	for line := range strings.Lines(string(program)) {
		if strings.TrimSpace(line) != "" {
			written++
		}
	}
	if written > 20 {
		t.Errorf("the notifier that README.md shows has %d lines, want at most 20", written)
	}
}

func TestNotifierOfAnotherModule(t *testing.T) {
	bin := buildElsewhere(t, filepath.Join(authorsDir, "notifier-go"))
	file := filepath.Join(t.TempDir(), "status")
	t.Run("keeps the contract", func(t *testing.T) {
		plugintest.NotifierProcess(t, plugintest.NotifierSettings{
			Good:    mustJSON(t, map[string]string{"file": file}),
			Failing: mustJSON(t, map[string]string{"file": filepath.Join(file, "not", "there")}),
		}, bin)
	})
	t.Run("hears of an outage", func(t *testing.T) {
		hearsOfOutage(t, simulatedOutage(t), bin, "status", fmt.Sprintf("file = %q", file), contentOf(file))
	})
}

func TestE2ENotifierOfAnotherModule(t *testing.T) {
	ollama := testkit.StartOllama(t, ollamaBin(t))
	bin, file := buildElsewhere(t, filepath.Join(authorsDir, "notifier-go")), filepath.Join(t.TempDir(), "status")
	hearsOfOutage(t, outage{ollama.URL, ollama.Stop, ollama.Restart}, bin, "status", fmt.Sprintf("file = %q", file), contentOf(file))
}

// contentOf reads a file, and nothing of one that isn't there.
func contentOf(file string) func() string {
	return func() string {
		text, _ := os.ReadFile(file)
		return string(text)
	}
}

func TestNotifierInNode(t *testing.T) {
	from, dir := filepath.Join(authorsDir, "notifier-node"), t.TempDir()
	linkNodeModules(t, from, dir)
	copyFile(t, filepath.Join("..", "..", "core", "plugin", "pluginpb", "foreman.proto"), dir)
	script := copyFile(t, filepath.Join(from, "foreman-notifier-post.mjs"), dir)

	var posted atomic.Value
	destination := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posted.Store(string(body))
	}))
	t.Cleanup(destination.Close)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else it doesn't hear that the caller is gone
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	failing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(failing.Close)

	t.Run("keeps the contract", func(t *testing.T) {
		plugintest.NotifierProcess(t, plugintest.NotifierSettings{
			Good:    mustJSON(t, map[string]string{"url": destination.URL}),
			Failing: mustJSON(t, map[string]string{"url": failing.URL}),
			Silent:  mustJSON(t, map[string]string{"url": silent.URL}),
		}, script)
	})
	t.Run("hears of an outage", func(t *testing.T) {
		hearsOfOutage(t, simulatedOutage(t), script, "post", fmt.Sprintf("url = %q", destination.URL), func() string {
			text, _ := posted.Load().(string)
			return text
		})
	})
}

// buildElsewhere builds a module as somebody would who has it by itself, and
// a checkout of foreman somewhere else.
func buildElsewhere(t *testing.T, module string) (bin string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(module)); err != nil {
		t.Fatal(err)
	}
	goCommand(t, dir, "mod", "edit", "-replace=github.com/seed-af7fee88/foreman="+checkout(t))
	bin = filepath.Join(dir, "plugin")
	goCommand(t, dir, "build", "-o", bin, ".")
	return bin
}

// goTimeout is for a slow machine that has compiled nothing yet.
const goTimeout = 3 * time.Minute

// goCommand runs go in dir, with settings that are nobody's own. What foreman
// was built with is enough: nothing needs to be fetched.
func goCommand(t *testing.T, dir string, args ...string) (said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), goTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOSUMDB=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func checkout(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// An outage is a target that goes away and comes back.
type outage struct {
	url        string
	begin, end func()
}

func simulatedOutage(t *testing.T) outage {
	t.Helper()
	target, err := sim.Start("127.0.0.1:0", sim.Options{Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	return outage{target.URL(), func() { target.Fail("*", sim.Reset()) }, target.Heal}
}

// hearsOfOutage installs the notifier called name under foreman, and wants it
// to hear when the target goes away and when it is back. heard is its last
// message.
func hearsOfOutage(t *testing.T, o outage, bin, name, settings string, heard func() string) {
	t.Helper()
	f := testkit.NewForeman(t, testkit.BuildForeman(t), testkit.Settings{Target: o.url, Poll: fastPoll})
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "foreman-notifier-"+name)); err != nil {
		t.Fatal(err)
	}
	appendFile(t, f.Config, fmt.Sprintf("[plugins]\ndir = %q\n[notify.desk]\nplugin = %q\n[notify.desk.settings]\n%s\n", dir, name, settings))

	if tried := f.Run("notify", "test", "desk"); tried.Code != exitYes || !strings.Contains(heard(), "this is a test") {
		t.Fatalf("foreman notify test: %+v, and it heard %q", tried, heard())
	}
	f.Start()
	awaitHealth(t, f, soon, healthy)
	hears := func(what string) {
		t.Helper()
		testkit.Await(t, soon, what, func() error {
			if !strings.Contains(heard(), what) {
				return fmt.Errorf("it heard %q", heard())
			}
			return nil
		})
	}
	o.begin()
	hears("is degraded")
	o.end()
	hears("is healthy again")
}

func appendFile(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func mustJSON(t *testing.T, value any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
