package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const (
	flaps    = 100
	notified = 50 * time.Millisecond
)

// delivery is an event that a webhook has got.
type delivery struct {
	kind  string
	after time.Duration // that it happened
}

// measureNotify measures how long it takes from the moment that foreman takes
// the target to be degraded until a webhook is called.
func measureNotify(ctx context.Context, b *bench) ([]figure, error) {
	target, err := sim.Start("127.0.0.1:0", sim.Options{Models: models(3), Instant: true})
	if err != nil {
		return nil, err
	}
	defer target.Close()
	got := make(chan delivery, 2*flaps)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := time.Now()
		var event struct {
			Type string
			Time time.Time
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err == nil {
			got <- delivery{event.Type, now.Sub(event.Time)}
		}
	}))
	defer hook.Close()
	d, err := startWith(ctx, b, target.URL(), fmt.Sprintf(
		"[poll]\ninterval = \"1s\"\njitter = 0.0\ndown_interval = \"100ms\"\nfall = 1\nrise = 1\n"+
			"[notify.ops]\ntype = \"webhook\"\nurl = %q\nallow_private = true\nmin_interval = \"0s\"\n", hook.URL))
	if err != nil {
		return nil, err
	}
	defer d.stop()
	var took []time.Duration
	for range flaps {
		target.Fail("*", sim.Status(http.StatusInternalServerError, ""))
		degraded, err := next(ctx, got, core.EventDegraded)
		if err != nil {
			return nil, err
		}
		target.Heal()
		if _, err := next(ctx, got, core.EventRecovered); err != nil {
			return nil, err
		}
		took = append(took, degraded)
	}
	return []figure{
		atMost(fmt.Sprintf("from degraded to a webhook's request, p99 of %d", flaps), slowestButOne(took), notified),
		unjudged("the same, median", median(took)),
	}, nil
}

// next is how long the next delivery took, which has to be of that kind.
func next(ctx context.Context, got <-chan delivery, kind core.EventType) (time.Duration, error) {
	select {
	case d := <-got:
		if d.kind != "foreman."+string(kind) {
			return 0, fmt.Errorf("the webhook got %s, not %s", d.kind, kind)
		}
		return d.after, nil
	case <-time.After(told):
		return 0, fmt.Errorf("the webhook didn't get %s within %v", kind, told)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
