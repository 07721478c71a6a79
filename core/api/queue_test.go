package api_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

func TestTheQueueIsShown(t *testing.T) {
	believed := after(nothing(), sees(time.Now(), nil, []core.Resident{{Name: "tiny:latest", Raw: []byte("{}")}, {Name: "me/Side:v1", Raw: []byte("{}")}, {Name: "My File.gguf", Raw: []byte("{}")}}))
	board := api.Queue{
		Model: "tiny:latest", IdleUntil: &morning,
		Running: []api.QueueEntry{
			{Model: "tiny", Caller: "bob", ArrivedAt: morning},
		},
		Waiting: []api.QueueEntry{
			{Model: "tiny", Job: "J1", Priority: core.PriorityHigh, ArrivedAt: morning},
			{Model: "big", Job: "J2", ArrivedAt: morning},
		},
		Swaps: 1,
	}
	shows := func(o *setup) { o.Queue = func() api.Queue { return board } }
	s := newShelf(core.Job{ID: "J1", State: core.JobQueued}, core.Job{ID: "J2", State: core.JobQueued}, core.Job{ID: "J3", State: core.JobDone})
	f := start(t, believed, nil, shows, s.options)
	f.get("/queue").says(t, 200, `{"model":"tiny:latest","loading":false,"idle_until":"2026-11-23T08:00:00Z","resident":["tiny:latest","me/Side:v1","My File.gguf"],
		"running":[{"model":"tiny","job":"","caller":"bob","priority":"normal","arrived_at":"2026-11-23T08:00:00Z"}],
		"waiting":[{"model":"tiny","job":"J1","caller":"","priority":"high","arrived_at":"2026-11-23T08:00:00Z"},
			{"model":"big","job":"J2","caller":"","priority":"normal","arrived_at":"2026-11-23T08:00:00Z"}],
		"swaps":1,"jobs":{"done":1,"queued":2}}`)
	got, err := asks(f, "").Queue(t.Context())
	want := board
	want.Resident, want.Jobs = core.Names{"tiny:latest", "me/Side:v1", "My File.gguf"}, map[core.JobState]int{core.JobQueued: 2, core.JobDone: 1}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for model, loading := range map[string]bool{"": false, "TINY": false, "me/side:v1": false, "side:v1": true, "big": true, "My File.gguf": false} {
		board.Model = model
		if got, err := asks(f, "").Queue(t.Context()); got.Loading != loading || err != nil {
			t.Errorf("%q loads: %v, %v", model, got.Loading, err)
		}
	}
	s.broken = errors.New("secret")
	f.get("/queue").says(t, 500, `{"error":"internal error; foreman's log says more"}`)
}

func TestAnEmptyQueue(t *testing.T) {
	f := start(t, nothing(), nil, func(o *setup) { o.Queue = func() api.Queue { return api.Queue{} } })
	f.get("/queue").says(t, 200, `{"model":"","loading":false,"idle_until":null,"resident":[],"running":[],"waiting":[],"swaps":0,"jobs":null}`)
}
