package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/daemon"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/plugins/notify"
	"github.com/seed-af7fee88/foreman/plugins/ollama"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// TestMain lets this executable be the plugin too, as foreman's is.
func TestMain(m *testing.M) {
	switch args := os.Args[1:]; {
	case slices.Equal(args, []string{"plugin", "backend", "ollama"}):
		plugin.ServeBackend(ollama.New())
	case slices.Equal(args, []string{"plugin", "backend", "sim"}):
		plugin.ServeBackend(sim.NewBackend())
	case len(args) == 3 && args[1] == plugin.KindNotifier:
		notifier, _ := notify.New(args[2])
		plugin.ServeNotifier(notifier)
	}
	goleak.VerifyTestMain(m)
}

// simulated starts a target with these models.
func simulated(t *testing.T, names ...string) *sim.Server {
	t.Helper()
	var models []sim.Model
	for _, name := range names {
		models = append(models, sim.Model{Name: name, Size: 1 << 30})
	}
	s, err := sim.Start("127.0.0.1:0", sim.Options{Models: models, Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func configFor(t *testing.T, url string) config.Config {
	cfg := config.Default(func(string) string { return "" })
	cfg.Server.Listen = "127.0.0.1:0"
	cfg.Server.StateDir = t.TempDir()
	cfg.Target.URL = url
	cfg.Poll.FastInterval, cfg.Poll.DownInterval = 100*time.Millisecond, 100*time.Millisecond
	return cfg
}

// options are for a daemon whose config stays.
func options(cfg config.Config) daemon.Options {
	return daemon.Options{
		Version: "v1.2.3", Level: new(slog.LevelVar),
		Load: func() (config.Config, error) { return cfg, nil },
	}
}

// run runs a daemon, and returns a client of it and what stops it.
func run(t *testing.T, cfg config.Config) (*api.Client, func()) {
	t.Helper()
	d, stop := serve(t, cfg, slog.New(slog.DiscardHandler))
	return api.NewClient(d.Addr().String(), ""), stop
}

// serve runs a daemon, and returns it and what stops it.
func serve(t *testing.T, cfg config.Config, log *slog.Logger) (*daemon.Daemon, func()) {
	t.Helper()
	return serveWith(t, cfg, options(cfg), log, nil)
}

// serveWith does so with these options; again has it read its config anew.
func serveWith(t *testing.T, cfg config.Config, opts daemon.Options, log *slog.Logger, again <-chan os.Signal) (*daemon.Daemon, func()) {
	t.Helper()
	d, err := daemon.New(cfg, opts, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, again) }()
	stop := func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the daemon didn't stop within 5 s")
		}
	}
	return d, stop
}

func TestAnswersForItsTargetAndAcrossARestart(t *testing.T) {
	target := simulated(t, "tiny:latest", "me/tiny:v1")
	cfg := configFor(t, target.URL())
	client, stop := run(t, cfg)
	list, err := client.Models(t.Context(), false)
	if err != nil || len(list.Models) != 2 || list.Degraded {
		t.Fatalf("models: %v, degraded %t, %v", list.Models, list.Degraded, err)
	}
	health, err := client.Health(t.Context())
	if err != nil || health.Status != core.Healthy || health.Version != "v1.2.3" || health.Inventory.Stale ||
		len(health.Plugins) != 1 || health.Plugins[0].State != core.PluginRunning {
		t.Errorf("health: %+v, %v", health, err)
	}
	stop()

	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	client, stop = run(t, cfg)
	defer stop()
	list, err = client.Models(t.Context(), true)
	if err != nil || len(list.Models) != 2 {
		t.Errorf("after a restart without the target: %v, %v", list.Models, err)
	}
	if health, err = client.Health(t.Context()); err != nil || !health.Inventory.Stale || health.LastPoll.Reason != core.ReasonRefused {
		t.Errorf("after a restart without the target: %+v, %v", health, err)
	}
}

// TestEventsNameTheTargetThatTheBackendChose: the config says nothing of it.
func TestEventsNameTheTargetThatTheBackendChose(t *testing.T) {
	cfg := configFor(t, "")
	cfg.Target.Backend = "sim"
	client, stop := run(t, cfg)
	defer stop()
	if _, err := client.Models(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	health, err := client.Health(t.Context())
	if err != nil || health.Target.URL == "" {
		t.Fatalf("%+v, %v", health.Target, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { // until somebody listens
		for n := 0; ctx.Err() == nil; n++ {
			body := strings.NewReader(fmt.Sprintf(`{"model":"missing-%d"}`, n))
			if resp, err := http.Post(client.URL()+"/api/chat", "application/json", body); err == nil {
				_ = resp.Body.Close()
			}
		}
	}()
	for event, err := range client.Events(ctx, "") {
		if err != nil || event.Target != health.Target.URL {
			t.Errorf("%s names the target %q, want %s; %v", event.Type, event.Target, health.Target.URL, err)
		}
		return
	}
}

func TestAddressInUseIsSaidAtOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := configFor(t, "http://127.0.0.1:1")
	cfg.Server.Listen = taken.Addr().String()
	_, err = daemon.New(cfg, daemon.Options{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(err.Error(), cfg.Server.Listen+" is taken: ") {
		t.Errorf("New on an address in use: %v", err)
	}
}

func TestQueryAsksWithoutADaemon(t *testing.T) {
	target := simulated(t, "tiny:latest")
	var names []string
	ask := func(ctx context.Context, b core.Backend) error {
		list, err := b.Models(ctx, "")
		for _, m := range list.Models {
			names = append(names, m.Name)
		}
		return err
	}
	if err := daemon.Query(t.Context(), configFor(t, target.URL()), slog.New(slog.DiscardHandler), ask); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, []string{"tiny:latest"}) {
		t.Errorf("models: %v", names)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	err := daemon.Query(t.Context(), configFor(t, target.URL()), slog.New(slog.DiscardHandler), ask)
	var fault *core.Fault
	if !errors.As(err, &fault) || fault.Reason != core.ReasonRefused {
		t.Errorf("with the target away: %v, want a fault that says refused", err)
	}
}
