package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/outbox"
)

func TestEventsArriveAtOnceAndUnchanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{}
		q := start(t, r, t.TempDir(), everything)
		want := core.NewEvent(core.EventModelAdded, time.Now(), target, "tiny was added.", core.ModelData{Model: "tiny", Size: 1 << 60})
		want.ID = "id-1"
		q.Offer(want)
		synctest.Wait()
		if diff := cmp.Diff([]arrival{{want, 0}}, r.got(), cmp.AllowUnexported(arrival{})); diff != "" {
			t.Error(diff)
		}
		now := time.Now()
		if diff := cmp.Diff(core.NotifierStatus{Name: "ops", Delivered: 1, LastAt: &now}, q.Status()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOnlyWantedEventsArrive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{}
		opts := everything
		opts.Events = []string{"model_*", "recovered", "["}
		q := start(t, r, t.TempDir(), opts)
		for _, kind := range core.EventTypes() {
			q.Offer(event(kind, string(kind)))
		}
		synctest.Wait()
		opts.Events = []string{"test"}
		q.Set(opts)
		for _, kind := range core.EventTypes() {
			q.Offer(event(kind, string(kind)))
		}
		synctest.Wait()
		want := []string{"recovered", "model_added", "model_removed", "model_changed", "model_missing", "test"}
		if diff := cmp.Diff(want, r.ids()); diff != "" {
			t.Error(diff)
		}
		if s := q.Status(); s.Queued != 0 || s.Dropped != 0 {
			t.Errorf("unwanted events count: %+v", s)
		}
	})
}

func TestAFailingNotifierGetsAllInOrderWhenItIsBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: fails(errors.New("ops: 500 from the webhook"))}
		q := start(t, r, t.TempDir(), everything)
		for n := range 5 {
			q.Offer(added(n))
			pass(time.Second)
		}
		if s := q.Status(); s.Queued != 5 || s.Error != "ops: 500 from the webhook" || s.LastAt != nil {
			t.Errorf("while it fails: %+v", s)
		}
		for _, a := range r.attempts() {
			if a.ID != added(0).ID {
				t.Fatalf("%s was tried before %s had arrived", a.ID, added(0).ID)
			}
		}
		r.answers(nil)
		pass(time.Minute)
		if diff := cmp.Diff(addedIDs(0, 5), r.ids()); diff != "" {
			t.Error(diff)
		}
		if s := q.Status(); s.Queued != 0 || s.Error != "" || s.Delivered != 5 {
			t.Errorf("once it is back: %+v", s)
		}
		if n := strings.Count(q.logged.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings of one failure that lasts:\n%s", n, q.logged)
		}
	})
}

func TestUndeliverableIsDroppedAndTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: fails(fmt.Errorf("ops: no such room: %w", core.ErrUndeliverable))}
		q := start(t, r, t.TempDir(), everything)
		q.Offer(added(0))
		q.Offer(added(1))
		synctest.Wait()
		if s := q.Status(); s.Dropped != 2 || s.Queued != 0 || !strings.Contains(s.Error, "no such room") {
			t.Errorf("status: %+v", s)
		}
		if n := strings.Count(q.logged.String(), "no such room"); n != 2 {
			t.Errorf("%d of 2 dropped events are logged:\n%s", n, q.logged)
		}
		r.answers(nil)
		q.Offer(added(2))
		q.Offer(added(3))
		synctest.Wait()
		if diff := cmp.Diff(addedIDs(2, 4), r.ids()); diff != "" {
			t.Fatal(diff)
		}
		if got := field(t, r.got()[0].Event, "dropped"); got != 2. {
			t.Errorf("the next message says dropped: %v", got)
		}
		if want := "Something happened. (2 events before this one dropped)"; r.got()[0].Sentence != want {
			t.Errorf("it says %q", r.got()[0].Sentence)
		}
		if diff := cmp.Diff(added(3), r.got()[1].Event); diff != "" {
			t.Errorf("the one after it: %s", diff)
		}
	})
}

func TestAFullQueueDropsTheOldestAndBlocksNobody(t *testing.T) {
	const offered = 2500
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: hangs}
		q := start(t, r, t.TempDir(), everything)
		for n := range offered {
			q.Offer(added(n))
			if n%100 == 0 {
				synctest.Wait()
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Fatalf("offering took %v", waited)
		}
		synctest.Wait()
		if s := q.Status(); s.Queued != 1000 || s.Dropped != offered-1000 {
			t.Errorf("status: %+v", s)
		}
		if n := strings.Count(q.logged.String(), "too many events"); n != 1 {
			t.Errorf("it is logged %d times:\n%s", n, q.logged)
		}
		r.answers(nil)
		pass(time.Minute)
		want := append(addedIDs(0, 1), addedIDs(offered-999, offered)...) // the first was under way
		if diff := cmp.Diff(want, r.ids()); diff != "" {
			t.Error(diff)
		}
		if got := field(t, r.got()[0].Event, "dropped"); got != float64(offered-1000) {
			t.Errorf("the first message says dropped: %v", got)
		}
		if s := q.Status(); s.Queued != 0 || s.Delivered != 1000 {
			t.Errorf("at the end: %+v", s)
		}
	})
}

func TestEventsBeforeRunWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{}
		q := outbox.New("ops", r, t.TempDir(), everything, quiet)
		for n := range 1003 {
			q.Offer(added(n))
		}
		if s := q.Status(); s.Queued != 1000 || s.Dropped != 3 {
			t.Errorf("before it runs: %+v", s)
		}
		if err := q.Run(ended(t)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(addedIDs(3, 1003), r.ids()); diff != "" {
			t.Error(diff)
		}
		if got := field(t, r.got()[0].Event, "dropped"); got != 3. {
			t.Errorf("the first message says dropped: %v", got)
		}
	})
}

func TestEventsOlderThanADayAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: fails(errors.New("no"))}
		q := start(t, r, t.TempDir(), everything)
		q.Offer(added(0))
		pass(time.Hour)
		q.Offer(added(1))
		pass(23*time.Hour + 6*time.Minute)
		if s := q.Status(); s.Dropped != 1 || s.Queued != 1 {
			t.Errorf("a day later: %+v", s)
		}
		r.answers(nil)
		pass(5 * time.Minute)
		if diff := cmp.Diff(addedIDs(1, 2), r.ids()); diff != "" {
			t.Error(diff)
		}
		if got := field(t, r.got()[0].Event, "dropped"); got != 1. {
			t.Errorf("the next message says dropped: %v", got)
		}
	})
}

func TestADropDuringADeliveryIsToldByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: slow(time.Second)}
		q := start(t, r, t.TempDir(), everything)
		for n := range 1006 {
			q.Offer(added(n))
			synctest.Wait()
		}
		pass(time.Second)
		r.answers(nil)
		pass(time.Second)
		if got := field(t, r.got()[0].Event, "dropped"); got != nil {
			t.Errorf("the message under way says dropped: %v", got)
		}
		if got := field(t, r.got()[1].Event, "dropped"); got != 6. {
			t.Errorf("the next message says dropped: %v", got)
		}
	})
}

func TestAnEventThatAgesWhileItIsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: slow(8 * time.Second)}
		q := start(t, r, t.TempDir(), everything)
		old := added(0)
		old.At = old.At.Add(-24*time.Hour + 5*time.Second)
		q.Offer(old)
		pass(6 * time.Second)
		q.Offer(added(1))
		pass(time.Minute)
		if diff := cmp.Diff(addedIDs(0, 2), r.ids()); diff != "" || q.Status().Dropped != 0 {
			t.Errorf("%s, %+v", diff, q.Status())
		}
	})
}

// The shortest of many tells a pause or a slow disk apart from a busy machine.
func TestAnIdleQueueIsFast(t *testing.T) {
	arrived := make(chan time.Time)
	n := notify(func(context.Context, core.Event) error { arrived <- time.Now(); return nil })
	q := start(t, n, t.TempDir(), everything)
	shortest := time.Hour
	for n := range 100 {
		offered := time.Now()
		q.Offer(added(n))
		shortest = min(shortest, (<-arrived).Sub(offered))
	}
	if shortest > time.Millisecond {
		t.Errorf("from Offer to Notify: %v", shortest)
	}
	t.Log("from Offer to Notify:", shortest)
}

type notify func(context.Context, core.Event) error

func (n notify) Notify(ctx context.Context, event core.Event) error { return n(ctx, event) }
