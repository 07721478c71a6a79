package daemon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/daemon"
	"github.com/seed-af7fee88/foreman/core/testkit"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// A live daemon is one whose config file can be edited.
type live struct {
	*daemon.Daemon
	t      *testing.T
	file   string
	client *api.Client
	again  chan os.Signal
	log    *syncBuffer
}

// reloadable runs a daemon on a config file with this text.
func reloadable(t *testing.T, text string, args ...any) *live {
	t.Helper()
	l := &live{t: t, file: filepath.Join(t.TempDir(), "foreman.toml"), again: make(chan os.Signal, 1), log: new(syncBuffer)}
	l.write(text, args...)
	load := func() (config.Config, error) { return config.Load(l.file, func(string) string { return "" }) }
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: level}))
	var stop func()
	l.Daemon, stop = serveWith(t, cfg, daemon.Options{Version: "v1.2.3", Level: level, Load: load}, log, l.again)
	t.Cleanup(stop)
	l.client = api.NewClient(l.Addr().String(), "")
	return l
}

// write replaces the file as a careful editor does.
func (l *live) write(text string, args ...any) {
	l.t.Helper()
	text = fmt.Sprintf("[server]\nlisten = \"127.0.0.1:0\"\nstate_dir = \"state\"\n"+text, args...)
	if err := os.WriteFile(l.file+".new", []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(l.file+".new", l.file); err != nil {
		l.t.Fatal(err)
	}
}

// await waits until /healthz is as it should be.
func (l *live) await(what string, is func(api.Health) bool) {
	l.t.Helper()
	testkit.Await(l.t, 5*time.Second, what, func() error {
		health, err := l.client.Health(l.t.Context())
		if err == nil && !is(health) {
			err = fmt.Errorf("%+v", health)
		}
		return err
	})
}

func TestAChangedIntervalIsInForceWithoutARestart(t *testing.T) {
	target := simulated(t, "tiny:latest")
	l := reloadable(t, "[target]\nurl = %q\n", target.URL())
	l.await("a first poll", func(h api.Health) bool { return h.Status == core.Healthy })
	before := plugins(t)
	l.write("[target]\nurl = %q\n[poll]\ninterval = \"7s\"\njitter = 0\n", target.URL())
	l.await("the new interval", func(h api.Health) bool {
		return h.PollInterval == 7 && h.NextPollAt.Sub(*h.LastPoll.At) == 7*time.Second
	})
	if diff := cmp.Diff(before, plugins(t)); diff != "" {
		t.Errorf("plugins were restarted: %s", diff)
	}
}

func TestABrokenFileChangesNothingUntilItIsMended(t *testing.T) {
	target := simulated(t, "tiny:latest")
	l := reloadable(t, "[target]\nurl = %q\n[poll]\ninterval = \"9s\"\n", target.URL())
	l.write("[target]\nurl = %q\n[poll]\ninterval = \"7s\"\nfal = 3\n", target.URL())
	want := &core.ConfigRejectedData{File: l.file, Line: 8, Key: "poll.fal", Problem: `unknown key; did you mean "fall"?`}
	l.await("the rejection", func(h api.Health) bool { return cmp.Equal(want, h.Config.Error) })
	l.await("the old interval", func(h api.Health) bool { return h.PollInterval == 9 })
	if !strings.Contains(l.log.String(), "line=8 key=poll.fal") {
		t.Errorf("the log says nothing of it:\n%s", l.log.String())
	}
	l.write("[target]\nurl = %q\n[poll]\ninterval = \"9s\"\n", target.URL())
	l.await("the mended file", func(h api.Health) bool { return h.Config.Error == nil && h.PollInterval == 9 })
}

// A plugin that refuses its settings refuses the whole file.
func TestAPluginIsAskedBeforeAnythingChanges(t *testing.T) {
	target := simulated(t, "tiny:latest")
	l := reloadable(t, "[target]\nurl = %q\n", target.URL())
	l.await("a first poll", func(h api.Health) bool { return h.Status == core.Healthy })
	before := plugins(t)
	l.write("[target]\nurl = %q\n[poll]\ninterval = \"7s\"\n[notify.bad]\nplugin = \"nobody\"\n[plugins.nobody]\npath = %q\n",
		target.URL(), "/bin/true")
	l.await("the rejection", func(h api.Health) bool {
		return h.Config.Error != nil && h.Config.Error.Key == "notify.bad" && h.PollInterval == 30
	})
	if diff := cmp.Diff(before, plugins(t)); diff != "" {
		t.Errorf("plugins: %s", diff)
	}
}

func TestAnotherTargetTakesOverWhileStreamsGoOn(t *testing.T) {
	old, other := simulated(t, "tiny:latest"), simulated(t, "big:latest")
	l := reloadable(t, "[target]\nurl = %q\n", old.URL())
	l.await("a first poll", func(h api.Health) bool { return h.Status == core.Healthy })

	// A target that answers slowly, on the way to the old one.
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/chat" {
			_, _ = io.WriteString(w, `{"models":[]}`)
			return
		}
		_, _ = io.WriteString(w, "{\"done\":false}\n")
		w.(http.Flusher).Flush()
		<-release
		_, _ = io.WriteString(w, "{\"done\":true}\n")
	}))
	defer slow.Close()
	l.write("[target]\nurl = %q\n[admission]\nallow = [\"*\"]\n", slow.URL)
	l.await("the slow one", func(h api.Health) bool { return h.Target.URL == slow.URL && h.Inventory.Models == 0 })
	resp, err := http.Post(l.URL()+"/api/chat", "application/json", strings.NewReader(`{"model":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	first := make([]byte, len("{\"done\":false}\n"))
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}

	l.write("[target]\nurl = %q\n", other.URL())
	l.await("the other one", func(h api.Health) bool { return h.Target.URL == other.URL() && h.Status == core.Healthy })
	list, err := l.client.Models(t.Context(), false)
	if err != nil || len(list.Models) != 1 || list.Models[0].Name != "big:latest" {
		t.Errorf("models: %v, %v", list.Models, err)
	}
	close(release)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != "{\"done\":true}\n" {
		t.Errorf("the stream that had begun: %q, %v", rest, err)
	}
}

func TestTokensAndLevelChangeLive(t *testing.T) {
	target := simulated(t, "tiny:latest")
	l := reloadable(t, "[target]\nurl = %q\n", target.URL())
	l.await("a first poll", func(h api.Health) bool { return h.Status == core.Healthy })
	l.write("tokens = { alice = \"secret-of-alice\" }\n[target]\nurl = %q\n[log]\nlevel = \"error\"\n", target.URL())
	testkit.Await(t, 5*time.Second, "a lock", func() error {
		if _, err := l.client.Health(t.Context()); !errors.Is(err, api.ErrNotAllowed) {
			return fmt.Errorf("without a token: %v", err)
		}
		return nil
	})
	l.client = api.NewClient(l.Addr().String(), "secret-of-alice")
	l.await("alice", func(h api.Health) bool { return h.Config.Error == nil })
	quiet := l.log.String()
	l.write("tokens = { alice = \"secret-of-alice\" }\n[target]\nurl = %q\n[log]\nlevel = \"error\"\n[retry]\nmax_wait = \"1s\"\n", target.URL())
	loaded := time.Now()
	l.await("another reload", func(h api.Health) bool { return h.Config.LoadedAt.After(loaded) })
	if got := l.log.String(); got != quiet {
		t.Errorf("logged at level error: %s", strings.TrimPrefix(got, quiet))
	}
}

func TestWhatNeedsARestartSaysSo(t *testing.T) {
	target := simulated(t, "tiny:latest")
	l := reloadable(t, "[target]\nurl = %q\n", target.URL())
	text := fmt.Sprintf("[server]\nlisten = \"127.0.0.1:1\"\nstate_dir = \"elsewhere\"\n[target]\nurl = %q\n", target.URL())
	if err := os.WriteFile(l.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l.await("the restart", func(h api.Health) bool {
		return slices.Equal(h.Config.NeedsRestart, []string{"server.listen", "server.state_dir"})
	})
	l.write("[target]\nurl = %q\n", target.URL())
	l.await("no restart", func(h api.Health) bool { return h.Config.NeedsRestart != nil && len(h.Config.NeedsRestart) == 0 })
}

func TestSIGHUPReadsTheFileAgain(t *testing.T) {
	target := simulated(t, "tiny:latest")
	l := reloadable(t, "[target]\nurl = %q\n", target.URL())
	l.again <- os.Interrupt // whichever
	testkit.Await(t, 5*time.Second, "a line in the log", func() error {
		if !strings.Contains(l.log.String(), "read again") {
			return errors.New(l.log.String())
		}
		return nil
	})
}

// hook is a webhook's other end.
type hook struct {
	*httptest.Server
	got chan map[string]any
}

func newHook(t *testing.T) *hook {
	h := &hook{got: make(chan map[string]any, 100)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var event map[string]any
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&event); err != nil {
			t.Errorf("a webhook got %q: %v", body, err)
		}
		h.got <- event
	}))
	t.Cleanup(h.Close)
	return h
}

// next is the type of the next event.
func (h *hook) next(t *testing.T) string {
	t.Helper()
	select {
	case event := <-h.got:
		return event["type"].(string)
	case <-time.After(5 * time.Second):
		t.Fatal("no event within 5 s")
		return ""
	}
}

func TestPeopleHearThatTheTargetIsAwayAndBack(t *testing.T) {
	target, hook := simulated(t, "tiny:latest"), newHook(t)
	text := fmt.Sprintf("[target]\nurl = %q\n[poll]\ninterval = \"1s\"\nfast_interval = \"100ms\"\ndown_interval = \"100ms\"\n", target.URL())
	l := reloadable(t, text+"[notify.ops]\ntype = \"webhook\"\nurl = %q\nallow_private = true\n", hook.URL)
	l.await("a first poll", func(h api.Health) bool { return h.Status == core.Healthy })
	target.Fail("*", sim.Status(http.StatusInternalServerError, "down"))
	if got := hook.next(t); got != "foreman.degraded" {
		t.Errorf("first %s", got)
	}
	target.Heal()
	if got := hook.next(t); got != "foreman.recovered" {
		t.Errorf("then %s", got)
	}
	l.await("the count", func(h api.Health) bool { return len(h.Notifiers) == 1 && h.Notifiers[0].Delivered == 2 })

	// Another table, while the daemon runs, and none.
	l.write("%s[notify.dev]\ntype = \"webhook\"\nurl = %q\nallow_private = true\nevents = [\"config_*\"]\n", text, hook.URL)
	if got := hook.next(t); got != "foreman.config_reloaded" {
		t.Errorf("the new notifier: %s", got)
	}
	l.write("%s", text)
	l.await("no notifier", func(h api.Health) bool { return len(h.Notifiers) == 0 && len(h.Plugins) == 1 })
}

// A secret's file that was missing is waited for, as the config's own is.
func TestASecretThatComesLater(t *testing.T) {
	target := simulated(t, "tiny:latest")
	l := reloadable(t, "[target]\nurl = %q\n", target.URL())
	secret := filepath.Join(filepath.Dir(l.file), "target.token")
	l.write("[target]\nurl = %q\ntoken = { file = %q }\n[poll]\ninterval = \"7s\"\n", target.URL(), secret)
	l.await("the rejection", func(h api.Health) bool { return h.Config.Error != nil && h.Config.Error.Key == "target.token" })
	if err := os.WriteFile(secret, []byte("of-the-target\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.await("the token", func(h api.Health) bool { return h.Config.Error == nil && h.PollInterval == 7 })
}

// A file that is emptied, as by a save on a full disk, isn't taken for the
// wish to have the defaults.
func TestAnEmptiedFileChangesNothing(t *testing.T) {
	target, hook := simulated(t, "tiny:latest"), newHook(t)
	text := "[target]\nurl = %q\n[notify.ops]\ntype = \"webhook\"\nurl = %q\nallow_private = true\nevents = [\"config_rejected\"]\n"
	l := reloadable(t, text, target.URL(), hook.URL)
	l.await("a first poll", func(h api.Health) bool { return h.Status == core.Healthy })
	if err := os.WriteFile(l.file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := hook.next(t); got != "foreman.config_rejected" {
		t.Errorf("it told %s", got)
	}
	l.await("the target stays", func(h api.Health) bool {
		return h.Target.URL == target.URL() && h.Config.Error != nil && strings.Contains(h.Config.Error.Problem, "is empty")
	})
	l.write(text, target.URL(), hook.URL)
	l.await("the mended file", func(h api.Health) bool { return h.Config.Error == nil })
}
