package plugintest_test

import (
	"context"
	"os"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/plugintest"
	"github.com/seed-af7fee88/foreman/plugins/ollama"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// A clerk is a backend whose fault is what a careless author would have left
// out.
type clerk struct {
	*ollama.Backend
	fault      string
	configured bool
}

func newClerk(fault string) *clerk { return &clerk{Backend: ollama.New(), fault: fault} }

// clerks are the faults, each with the test that must find it.
var clerks = map[string]string{
	"killed by a panic":  "as_a_process/outlives_a_bad_call",
	"short of breath":    "in_process/lists_very_many_models",
	"deaf":               "in_process/gives_up_a_silent_target/Models_times_out",
	"deaf to its cancel": "in_process/gives_up_a_silent_target/Models_is_canceled",
}

func (c *clerk) Configure(ctx context.Context, settings core.Settings) (core.Upstream, error) {
	c.configured = true
	return c.Backend.Configure(ctx, settings)
}

func (c *clerk) Probe(ctx context.Context) (string, error) {
	if c.fault == "killed by a panic" && !c.configured {
		os.Exit(2)
	}
	return c.Backend.Probe(ctx)
}

func (c *clerk) Models(ctx context.Context, known string) (core.ModelList, error) {
	if c.fault == "deaf" || c.fault == "deaf to its cancel" {
		ctx = context.Background()
	}
	list, err := c.Backend.Models(ctx, known)
	if c.fault == "short of breath" && len(list.Models) > 1000 {
		list.Models = list.Models[:1000]
	}
	return list, err
}

func TestBackend(t *testing.T) {
	fault := os.Getenv("TEST_CLERK_FAULT")
	settings := startTarget(t, sim.Model{Name: "tiny"})
	t.Run("in process", func(t *testing.T) {
		plugintest.Backend(t, func(*testing.T) (core.Backend, core.Settings) { return newClerk(fault), settings })
	})
	t.Run("as a process", func(t *testing.T) {
		plugintest.BackendProcess(t, process("clerk "+fault, settings))
	})
}
