package api_test

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// inventory believes what a test tells it.
type inventory struct {
	mu       sync.Mutex
	snapshot *core.Snapshot
	recheck  func(context.Context, *core.Snapshot) *core.Snapshot // nil learns nothing
	rechecks int
	nudges   int
}

func (i *inventory) Snapshot() *core.Snapshot {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.snapshot
}

func (i *inventory) Recheck(ctx context.Context) *core.Snapshot {
	i.mu.Lock()
	i.rechecks++
	snapshot, recheck := i.snapshot, i.recheck
	i.mu.Unlock()
	if recheck != nil {
		snapshot = recheck(ctx, snapshot)
		i.believe(snapshot)
	}
	return snapshot
}

func (i *inventory) Nudge() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.nudges++
}

func (i *inventory) believe(s *core.Snapshot) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.snapshot = s
}

// asked is how often somebody wanted a look.
func (i *inventory) asked() (rechecks, nudges int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.rechecks, i.nudges
}

// nothing is what is believed before the first poll.
func nothing() *core.Snapshot {
	return &core.Snapshot{Status: core.Starting, Backend: "ollama", URL: "http://127.0.0.1:11434"}
}

var limits = core.Thresholds{Fall: 3, Rise: 2}

// after is what is believed after the looks.
func after(s *core.Snapshot, looks ...core.Look) *core.Snapshot {
	for _, look := range looks {
		s = s.After(look, limits)
	}
	return s
}

// found is what is believed once the target has listed these models.
func found(models ...core.Model) *core.Snapshot {
	return after(nothing(), sees(time.Now(), models, nil))
}

// lost is s after three polls in a row that were refused.
func lost(s *core.Snapshot) *core.Snapshot {
	fails := fails(core.ReasonRefused)
	return after(s, fails, fails, fails)
}

func sees(at time.Time, models []core.Model, residents []core.Resident) core.Look {
	return core.Look{
		Poll: core.Poll{At: at}, Version: "0.17.4",
		Inventory: core.NewInventory(models, ""), Residency: core.NewResidency(residents),
	}
}

func fails(reason core.Reason) core.Look {
	return core.Look{Poll: core.Poll{
		At: time.Now(), Fault: &core.Fault{Reason: reason, Detail: "GET http://127.0.0.1:11434/api/tags: " + string(reason)},
	}}
}

// model is one that the target sent as raw.
func model(raw string) core.Model {
	var m struct {
		Name, Digest string
		ModifiedAt   time.Time `json:"modified_at"`
	}
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		panic(err)
	}
	return core.Model{Name: m.Name, Digest: m.Digest, ModifiedAt: m.ModifiedAt, Raw: json.RawMessage(raw)}
}

// named is a model of which nothing but the name matters.
func named(name string) core.Model {
	return model(`{"name":"` + name + `","digest":"d-` + name + `","modified_at":"2026-11-23T08:19:04Z"}`)
}

func resident(raw string) core.Resident { return core.Resident{Raw: json.RawMessage(raw)} }
