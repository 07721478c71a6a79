package plugintest_test

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
	"github.com/seed-af7fee88/foreman/core/plugin/plugintest"
	"github.com/seed-af7fee88/foreman/plugins/ollama"
	"github.com/seed-af7fee88/foreman/plugins/openai"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// builtIn makes the backends that come with foreman.
var builtIn = map[string]func() core.Backend{
	"ollama": func() core.Backend { return ollama.New() },
	"openai": func() core.Backend { return openai.New() },
	"sim":    func() core.Backend { return sim.NewBackend() },
}

// TestMain also is each plugin's executable, as foreman's own is.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "plugin" {
		switch os.Args[2] {
		case plugin.KindBackend:
			if fault, isClerk := strings.CutPrefix(os.Args[3], "clerk "); isClerk {
				plugin.ServeBackend(newClerk(fault))
			}
			plugin.ServeBackend(builtIn[os.Args[3]]())
		case plugin.KindNotifier:
			serveNotifier(os.Args[3])
		}
	}
	goleak.VerifyTestMain(m)
}

// process goes by way of env(1): with the race detector a process sleeps for
// a second as it exits, unless it is told not to.
func process(name string, settings core.Settings) plugintest.Process {
	return plugintest.Process{
		Path: "/usr/bin/env", Settings: settings,
		Args: []string{"GORACE=atexit_sleep_ms=0", os.Args[0], "plugin", plugin.KindBackend, name},
	}
}

// startTarget starts a simulated Ollama with models of which one is resident.
func startTarget(t *testing.T, models ...sim.Model) core.Settings {
	t.Helper()
	target, err := sim.Start("127.0.0.1:0", sim.Options{Models: models, Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	target.Load(models[0].Name)
	target.Shuffle(true)
	return core.Settings{URL: target.URL()}
}

func TestOllama(t *testing.T) {
	settings := startTarget(t, sim.Model{Name: "tiny"}, sim.Model{Name: "me/embed:v2", Embedding: true})
	t.Run("in process", func(t *testing.T) {
		plugintest.Backend(t, func(*testing.T) (core.Backend, core.Settings) { return ollama.New(), settings })
	})
	t.Run("as a process", func(t *testing.T) {
		plugintest.BackendProcess(t, process("ollama", settings))
	})
}

func TestOpenAI(t *testing.T) {
	settings := startTarget(t, sim.Model{Name: "tiny"}, sim.Model{Name: "me/embed:v2", Embedding: true})
	t.Run("in process", func(t *testing.T) {
		plugintest.Backend(t, func(*testing.T) (core.Backend, core.Settings) { return openai.New(), settings })
	})
	t.Run("as a process", func(t *testing.T) {
		plugintest.BackendProcess(t, process("openai", settings))
	})
}

func TestSim(t *testing.T) {
	t.Run("in process", func(t *testing.T) {
		plugintest.Backend(t, func(t *testing.T) (core.Backend, core.Settings) {
			b := sim.NewBackend()
			t.Cleanup(func() { b.Close() })
			return b, core.Settings{}
		})
	})
	t.Run("as a process", func(t *testing.T) {
		plugintest.BackendProcess(t, process("sim", core.Settings{}))
	})
}

// A list may well be over the 4 MiB that gRPC takes by default.
func TestTwentyThousandModelsCross(t *testing.T) {
	models := make([]sim.Model, 20_000)
	for i := range models {
		models[i].Name = fmt.Sprintf("m%d", i)
	}
	p := process("ollama", startTarget(t, models...))
	spec := host.Spec{Kind: plugin.KindBackend, Name: "ollama", Path: p.Path, Args: p.Args}
	run, err := host.StartBackend(t.Context(), spec, p.Settings, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer run.Stop()
	list, err := run.Models(t.Context(), "")
	if err != nil || len(list.Models) != len(models) {
		t.Errorf("got %d models, %v", len(list.Models), err)
	}
}
