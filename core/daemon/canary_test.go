package daemon_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/testkit"
)

// The secrets of the test. Nothing but their owners may see them.
const (
	aliceCanary  = "canary-alice-5b1f0c"
	bobCanary    = "canary-bob-9d27ee"
	targetCanary = "canary-target-e41a88"
	wrongCanary  = "canary-mistyped-77c0de" // it may be right elsewhere
)

// A canaryTarget is a target with a token of its own, which it quotes when it
// isn't pleased.
type canaryTarget struct {
	*httptest.Server
	strict atomic.Bool // no token is right
	right  atomic.Int64
}

func newCanaryTarget(t *testing.T) *canaryTarget {
	c := new(canaryTarget)
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *canaryTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	given := r.Header.Get("Authorization")
	if c.strict.Load() || given != "Bearer "+targetCanary {
		w.WriteHeader(http.StatusUnauthorized)
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"error":"%s is not a token, %s"}`, given, r.Header)
		} else {
			_, _ = io.WriteString(w, `{"error":"unauthorized"}`) // its answers to callers are its own
		}
		return
	}
	c.right.Add(1)
	switch r.URL.Path {
	case "/api/tags":
		_, _ = io.WriteString(w, `{"models":[{"name":"tiny:latest","model":"tiny:latest","modified_at":"2026-11-23T08:19:04Z","size":1,"digest":"db77aa00bb11","details":{}}]}`)
	case "/api/ps":
		_, _ = io.WriteString(w, `{"models":[]}`)
	case "/api/version":
		_, _ = io.WriteString(w, `{"version":"0.17.4"}`)
	default:
		_, _ = io.WriteString(w, `{"done":true}`)
	}
}

// A lookout collects all that can be seen of a daemon from the outside.
type lookout struct {
	t    *testing.T
	url  string
	seen syncBuffer
}

// ask sends one request with the header and notes the whole answer.
func (l *lookout) ask(method, path, header string) int {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.url+path, strings.NewReader(`{"model":"tiny"}`))
	if err != nil {
		l.t.Fatal(err)
	}
	if name, value, ok := strings.Cut(header, ": "); ok {
		req.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Fprintln(&l.seen, method, path, resp.StatusCode, resp.Header, string(body), err)
	return resp.StatusCode
}

// askEverything asks for each kind of route as each kind of caller, and
// returns how often each status was the answer.
func (l *lookout) askEverything() map[int]int {
	l.t.Helper()
	statuses := map[int]int{}
	for _, request := range []string{
		"GET /", "GET /api/tags", "GET /api/ps", "GET /api/version", "GET /v1/models", "GET /v1/models/tiny", "GET /healthz",
		"GET /readyz?verbose", "GET /livez", "GET /nope", "POST /api/show", "POST /api/chat", "POST /v1/chat/completions",
		"POST /v1/messages", "POST /api/pull", "PUT /api/chat",
	} {
		method, path, _ := strings.Cut(request, " ")
		for _, header := range []string{
			"", "Authorization: Bearer " + wrongCanary, "X-Api-Key: " + wrongCanary, "Cookie: token=" + wrongCanary,
			"Authorization: Bearer " + aliceCanary, "X-Api-Key: " + bobCanary,
		} {
			statuses[l.ask(method, path, header)]++
		}
	}
	return statuses
}

// plugins are the processes of plugins that this one has started, where there
// is a /proc to tell.
func plugins(t *testing.T) []int {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // state, parent
		if fields[0] == "Z" || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// lookAtPlugins notes what anybody on the machine, or a plugin itself, sees of
// a plugin's process.
func (l *lookout) lookAtPlugins() []int {
	l.t.Helper()
	pids := plugins(l.t)
	if len(pids) == 0 && runtime.GOOS == "linux" {
		l.t.Error("there is no plugin to look at")
	}
	for _, pid := range pids {
		for _, file := range []string{"environ", "cmdline"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil || len(data) == 0 {
				l.t.Errorf("%s of a plugin: %q, %v", file, data, err)
			}
			fmt.Fprintf(&l.seen, "%s %q\n", file, data)
		}
	}
	return pids
}

// lookIntoFiles notes what is in dir.
func (l *lookout) lookIntoFiles(dir string) {
	l.t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		fmt.Fprintf(&l.seen, "%s %s\n", path, data)
		return err
	})
	if err != nil {
		l.t.Error(err)
	}
}

// expectNoCanary greps for the secrets, in plain text and as they are often
// encoded.
func (l *lookout) expectNoCanary(log string) {
	l.t.Helper()
	for where, text := range map[string]string{"the log": log, "what was seen": l.seen.String()} {
		for _, canary := range []string{aliceCanary, bobCanary, targetCanary, wrongCanary} {
			for _, form := range []string{
				canary, fmt.Sprintf("%x", canary), base64.StdEncoding.EncodeToString([]byte(canary))[:20],
			} {
				if line, found := lineWith(text, form); found {
					l.t.Errorf("%s has %s:\n%s", where, canary, line)
				}
			}
		}
	}
}

func lineWith(text, part string) (string, bool) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line, true
		}
	}
	return "", false
}

// canaryConfig is what a file with all kinds of secrets says.
func canaryConfig(t *testing.T, targetURL string) config.Config {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bob.token"), []byte(bobCanary+"\n"))
	// In the environment too, where a plugin would inherit it.
	t.Setenv("CANARY_ALICE", aliceCanary)
	t.Setenv("CANARY_TARGET", targetCanary)
	cfg, err := config.Parse(filepath.Join(dir, "foreman.toml"), []byte(`
		[server]
		listen = "127.0.0.1:0"
		state_dir = "state"
		tokens = { alice = { env = "CANARY_ALICE" }, bob = { file = "bob.token" } }
		[target]
		url = "`+targetURL+`"
		token = { env = "CANARY_TARGET" }
		[poll]
		interval = "1s"
		fast_interval = "100ms"
		down_interval = "100ms"
		[retry]
		max_wait = "0s"
		[log]
		level = "debug"
	`), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestNoSecretIsSeenAnywhere(t *testing.T) {
	target := newCanaryTarget(t)
	cfg := canaryConfig(t, target.URL)
	log := new(syncBuffer)
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	logger.Debug("in force", "config", cfg, "text", fmt.Sprintf("%+v", cfg))
	d, stop := serve(t, cfg, logger)
	l := &lookout{t: t, url: d.URL()}
	client := api.NewClient(d.Addr().String(), aliceCanary)
	await := func(what string, is func(api.Health) bool) {
		t.Helper()
		testkit.Await(t, 10*time.Second, what, func() error {
			health, err := client.Health(t.Context())
			if err == nil && !is(health) {
				err = fmt.Errorf("%+v", health)
			}
			return err
		})
	}

	await("a healthy target", func(h api.Health) bool { return h.Status == core.Healthy })
	first := l.lookAtPlugins()
	if got := l.askEverything(); got[200] < 20 || got[401] < 40 {
		t.Errorf("statuses while all is well: %v", got)
	}
	if target.right.Load() == 0 {
		t.Error("the target never saw its token")
	}

	target.strict.Store(true) // it quotes the token in its refusals
	await("a target that refuses", func(h api.Health) bool { return h.LastPoll.Reason == core.StatusReason(401) })
	l.askEverything()
	target.strict.Store(false)

	for _, pid := range first {
		process, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		_ = process.Kill()
	}
	if len(first) > 0 {
		await("the plugin after a crash", func(h api.Health) bool {
			return h.Plugins[0].Restarts > 0 && h.Plugins[0].State == core.PluginRunning
		})
		l.askEverything()
		l.lookAtPlugins()
	}

	target.Close()
	await("a target that is gone", func(h api.Health) bool { return h.Status == core.Degraded && h.LastPoll.Reason == core.ReasonRefused })
	if got := l.askEverything(); got[503] == 0 {
		t.Errorf("statuses while the target is gone: %v", got)
	}
	stop()
	l.lookIntoFiles(cfg.Server.StateDir)
	l.expectNoCanary(log.String())
	if !strings.Contains(log.String(), "[redacted]") || !strings.Contains(l.seen.String(), "[token]") {
		t.Error("there was nothing to hide")
	}
}

func TestNoSecretIsSeenInABrokenConfig(t *testing.T) {
	t.Setenv("CANARY_TARGET", targetCanary+"\n")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bob.token"), []byte(bobCanary+"\nmore\n"))
	l := &lookout{t: t}
	for _, text := range []string{
		`target.token = { env = "CANARY_TARGET" }`,
		`target.token = { env = "` + targetCanary + `" }`,
		`target.token = "` + targetCanary,
		`target.token = ` + targetCanary,
		`target.url = "http://alice:` + aliceCanary + `@127.0.0.1"`,
		`target.url = "http://` + aliceCanary + `@127.0.0.1:x"`,
		`server.tokens.bob = { file = "bob.token" }`,
		`server.tokens.bob = [ "` + bobCanary + `" ]`,
		`server.tokens = "` + bobCanary + `"`,
		"server.tokens.bob = \"" + bobCanary + "\"\n[poll]\ninterval = 5",
	} {
		_, err := config.Parse(filepath.Join(dir, "foreman.toml"), []byte(text), os.Getenv)
		if err == nil {
			t.Errorf("%s was taken", text)
		}
		fmt.Fprintf(&l.seen, "%v %+v\n", err, err)
	}
	l.expectNoCanary("")
}
