package api_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// isHealth compares the whole body, and that it is a 200 that nobody caches.
func isHealth(t *testing.T, got answer, want string) {
	t.Helper()
	if got.status != 200 || got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%d %v", got.status, got.header)
	}
	var is, should any
	if err := json.Unmarshal([]byte(want), &should); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got.body), &is); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	if diff := cmp.Diff(should, is); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	var health api.Health
	if err := json.Unmarshal([]byte(got.body), &health); err != nil {
		t.Errorf("the type doesn't read its own body: %v", err)
	}
}

// In a bubble it is midnight, 1 January 2000.

func TestHealthBeforeTheFirstPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil, func(o *setup) {
			o.Upstream = func() (core.Upstream, error) { return core.Upstream{}, core.ErrUnavailable }
			o.Plugins = func() []core.PluginStatus { return nil }
		})
		isHealth(t, f.get("/healthz"), `{
			"schema_version": 1, "version": "1.2.3", "status": "starting", "degraded": false,
			"target": {"backend": "ollama", "url": "http://127.0.0.1:11434", "version": ""},
			"last_poll": {"at": null, "ok": false, "duration_ms": 0, "reason": "", "error": ""},
			"last_success": {"at": null, "age_seconds": null},
			"next_poll_at": null, "poll_interval_seconds": 30, "consecutive_failures": 0,
			"inventory": {"models": 0, "as_of": null, "age_seconds": null, "stale": true},
			"resident": {"models": 0, "as_of": null, "age_seconds": null, "stale": true},
			"plugins": [],
			"notifiers": [], "jobs_error": "", "config": {"file": "", "loaded_at": null, "error": null, "needs_restart": []}
		}`)
	})
}

func TestHealthOfAHealthyTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		look := sees(time.Now().In(time.FixedZone("CET", 3600)), []core.Model{named("a:latest"), named("b:latest")}, []core.Resident{resident(`{}`)})
		look.Duration = 12345678 * time.Nanosecond
		believed := after(nothing(), look)
		believed.NextPoll = time.Now().Add(30 * time.Second)
		f := start(t, believed, nil)
		time.Sleep(10 * time.Second)
		isHealth(t, f.get("/healthz"), `{
			"schema_version": 1, "version": "1.2.3", "status": "healthy", "degraded": false,
			"target": {"backend": "ollama", "url": "http://ollama.test:11434", "version": "0.17.4"},
			"last_poll": {"at": "2000-01-01T00:00:00Z", "ok": true, "duration_ms": 12.35, "reason": "", "error": ""},
			"last_success": {"at": "2000-01-01T00:00:00.012Z", "age_seconds": 9.988},
			"next_poll_at": "2000-01-01T00:00:30Z", "poll_interval_seconds": 30, "consecutive_failures": 0,
			"inventory": {"models": 2, "as_of": "2000-01-01T00:00:00.012Z", "age_seconds": 9.988, "stale": false},
			"resident": {"models": 1, "as_of": "2000-01-01T00:00:00.012Z", "age_seconds": 9.988, "stale": false},
			"plugins": [{"name": "ollama", "kind": "backend", "state": "running", "restarts": 2}],
			"notifiers": [], "jobs_error": "", "config": {"file": "", "loaded_at": null, "error": null, "needs_restart": []}
		}`)
	})
}

func TestHealthOfATargetThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(named("a:latest")), nil, func(o *setup) {
			o.Plugins = func() []core.PluginStatus {
				return []core.PluginStatus{{Name: "x", Kind: "backend", State: core.PluginWaiting, Error: "exit status 1"}}
			}
		})
		time.Sleep(time.Hour)
		f.believe(lost(f.Snapshot()))
		isHealth(t, f.get("/healthz"), `{
			"schema_version": 1, "version": "1.2.3", "status": "degraded", "degraded": true,
			"target": {"backend": "ollama", "url": "http://ollama.test:11434", "version": "0.17.4"},
			"last_poll": {"at": "2000-01-01T01:00:00Z", "ok": false, "duration_ms": 0, "reason": "refused",
				"error": "GET http://127.0.0.1:11434/api/tags: refused"},
			"last_success": {"at": "2000-01-01T00:00:00Z", "age_seconds": 3600},
			"next_poll_at": null, "poll_interval_seconds": 30, "consecutive_failures": 3,
			"inventory": {"models": 1, "as_of": "2000-01-01T00:00:00Z", "age_seconds": 3600, "stale": true},
			"resident": {"models": 0, "as_of": "2000-01-01T00:00:00Z", "age_seconds": 3600, "stale": true},
			"plugins": [{"name": "x", "kind": "backend", "state": "waiting", "restarts": 0, "error": "exit status 1"}],
			"notifiers": [], "jobs_error": "", "config": {"file": "", "loaded_at": null, "error": null, "needs_restart": []}
		}`)
	})
}

func TestHealthAfterARestartWithASavedInventory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saved := *nothing()
		saved.Inventory, saved.InventoryAt = core.NewInventory([]core.Model{named("a:latest")}, ""), time.Now().Add(-time.Minute)
		f := start(t, &saved, nil)
		isHealth(t, f.get("/healthz"), `{
			"schema_version": 1, "version": "1.2.3", "status": "starting", "degraded": false,
			"target": {"backend": "ollama", "url": "http://ollama.test:11434", "version": ""},
			"last_poll": {"at": null, "ok": false, "duration_ms": 0, "reason": "", "error": ""},
			"last_success": {"at": null, "age_seconds": null},
			"next_poll_at": null, "poll_interval_seconds": 30, "consecutive_failures": 0,
			"inventory": {"models": 1, "as_of": "1999-12-31T23:59:00Z", "age_seconds": 60, "stale": true},
			"resident": {"models": 0, "as_of": null, "age_seconds": null, "stale": true},
			"plugins": [{"name": "ollama", "kind": "backend", "state": "running", "restarts": 2}],
			"notifiers": [], "jobs_error": "", "config": {"file": "", "loaded_at": null, "error": null, "needs_restart": []}
		}`)
	})
}

func TestHealthWhenOnlyResidencyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(named("a:latest")), nil)
		time.Sleep(30 * time.Second)
		look := sees(time.Now(), []core.Model{named("a:latest")}, nil)
		look.Residency, look.ResidencyFault = nil, &core.Fault{Reason: core.StatusReason(500), Detail: "GET /api/ps: 500"}
		f.believe(after(f.Snapshot(), look))
		var got api.Health
		if err := json.Unmarshal([]byte(f.get("/healthz").body), &got); err != nil {
			t.Fatal(err)
		}
		now, before, none, half := time.Now().UTC(), time.Now().Add(-30*time.Second).UTC(), 0.0, 30.0
		want := api.Health{
			SchemaVersion: 1, Status: core.Healthy, Version: "1.2.3",
			Target:       api.HealthTarget{Backend: "ollama", URL: upstream, Version: "0.17.4"},
			LastPoll:     api.HealthPoll{At: &now, OK: true},
			LastSuccess:  api.HealthMoment{At: &now, AgeSeconds: &none},
			PollInterval: 30,
			Inventory:    api.HealthList{Models: 1, AsOf: &now, AgeSeconds: &none},
			Resident:     api.HealthList{AsOf: &before, AgeSeconds: &half, Stale: true, Reason: "status_500"},
			Plugins:      []core.PluginStatus{{Name: "ollama", Kind: "backend", State: core.PluginRunning, Restarts: 2}},
			Notifiers:    []core.NotifierStatus{},
			Config:       api.ConfigHealth{NeedsRestart: []string{}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	})
}

func TestHealthTellsOfNotifiersAndTheConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(1234567 * time.Nanosecond).In(time.FixedZone("CET", 3600))
		f := start(t, found(), nil, func(o *setup) {
			o.Notifiers = func() []core.NotifierStatus {
				return []core.NotifierStatus{{Name: "ops", Queued: 1, Delivered: 2, Dropped: 3, Folded: 4, Error: "refused"}}
			}
			o.Config = func() api.ConfigHealth {
				return api.ConfigHealth{
					File: "/etc/foreman.toml", LoadedAt: &at, NeedsRestart: []string{"server.listen"},
					Error: &core.ConfigRejectedData{File: "/etc/foreman.toml", Line: 3, Key: "poll.fall", Problem: "is not a number"},
				}
			}
		})
		body := f.get("/healthz").body
		for _, want := range []string{
			`"notifiers":[{"name":"ops","queued":1,"delivered":2,"dropped":3,"folded":4,"last_at":null,"error":"refused"}]`,
			`"config":{"file":"/etc/foreman.toml","loaded_at":"2000-01-01T00:00:00.001Z",` +
				`"error":{"file":"/etc/foreman.toml","line":3,"key":"poll.fall","problem":"is not a number"},"needs_restart":["server.listen"]}`,
		} {
			if !strings.Contains(body, want) {
				t.Errorf("no %s in\n%s", want, body)
			}
		}
	})
}

func TestHealthTellsWhatJobsLack(t *testing.T) {
	for want, set := range map[string]func(*setup){
		"":                          newShelf().options,
		"the disk of / is full":     func(o *setup) { o.Jobs = &shelf{broken: errors.New("the disk of / is full")} },
		"another has the job store": func(o *setup) { o.NoJobs = "another has the job store" },
	} {
		var got api.Health
		if err := json.Unmarshal([]byte(start(t, found(), nil, set).get("/healthz").body), &got); err != nil {
			t.Fatal(err)
		}
		if got.JobsError != want || got.Status != core.Healthy {
			t.Errorf("%s, %q, want %q", got.Status, got.JobsError, want)
		}
	}
}

func TestNothingIsYoungerThanNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, after(nothing(), sees(time.Now().Add(time.Hour), nil, nil)), nil) // the clock was set back since
		var got api.Health
		if err := json.Unmarshal([]byte(f.get("/healthz").body), &got); err != nil {
			t.Fatal(err)
		}
		for name, age := range map[string]*float64{
			"last_success": got.LastSuccess.AgeSeconds, "inventory": got.Inventory.AgeSeconds, "resident": got.Resident.AgeSeconds,
		} {
			if age == nil || *age != 0 {
				t.Errorf("%s: age %v", name, age)
			}
		}
	})
}

func TestLiveAndReady(t *testing.T) {
	saved := *nothing()
	saved.Inventory = core.NewInventory(nil, "")
	for _, c := range []struct {
		when     string
		believed *core.Snapshot
		status   int
		body     string
	}{
		{"before the first poll", nothing(), 503, "no inventory yet\n"},
		{"the first poll failed", lost(nothing()), 503, "no inventory yet\n"},
		{"a saved inventory", &saved, 200, "ok\n"},
		{"healthy", found(), 200, "ok\n"},
		{"degraded", lost(found()), 200, "ok\n"},
	} {
		f := start(t, c.believed, nil)
		if got := f.get("/readyz"); got.status != c.status || got.body != c.body {
			t.Errorf("%s: ready %d %q, want %d %q", c.when, got.status, got.body, c.status, c.body)
		}
		if got := f.get("/livez"); got.status != 200 || got.body != "ok\n" {
			t.Errorf("%s: live %d %q", c.when, got.status, got.body)
		}
	}
}

func TestReadyVerbose(t *testing.T) {
	f := start(t, lost(nothing()), nil)
	for _, path := range []string{"/readyz?verbose", "/readyz?verbose=1", "/readyz?x&verbose="} {
		want := "no inventory yet\ntarget degraded\nplugin ollama running\n"
		if got := f.get(path); got.status != 503 || got.body != want {
			t.Errorf("%s: %d %q, want 503 %q", path, got.status, got.body, want)
		}
	}
	f.believe(found())
	if got := f.get("/readyz?verbose"); got.status != 200 || got.body != "ok\ntarget healthy\nplugin ollama running\n" {
		t.Errorf("%d %q", got.status, got.body)
	}
}
