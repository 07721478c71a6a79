package outbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/outbox"
)

// told writes down what arrived: when, what, and how many changes with it.
func told(t *testing.T, r *recipient) string {
	t.Helper()
	var all []string
	for _, a := range r.got() {
		line := fmt.Sprint(a.after, " ", a.Type)
		if a.Target != target {
			line += " of " + a.Target
		}
		if n := field(t, a.Event, "folded"); n != nil {
			line += fmt.Sprint(" +", n)
		}
		if field(t, a.Event, "reminder") == true {
			line += " again"
		}
		all = append(all, line)
	}
	return strings.Join(all, ", ")
}

// play offers events at the given times since the bubble's beginning: "90s
// recovered, 2m degraded of http://other".
func play(t *testing.T, q running, story string) {
	t.Helper()
	for i, step := range strings.Split(story, ", ") {
		words := strings.Fields(step)
		at, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		pass(at - time.Since(began))
		e := event(core.EventType(words[1]), fmt.Sprint("id-", i))
		switch {
		case e.Type == core.EventTargetChanged:
			was := core.TargetIdentity{Backend: "ollama", URL: target, Version: "1"}
			now := core.TargetIdentity{Backend: words[3], URL: words[5], Version: "2"}
			e = core.NewEvent(e.Type, e.At, now.URL, "", core.TargetChangedData{Was: was, Now: now})
		case len(words) > 2:
			e.Target = words[3]
		}
		q.Offer(e)
	}
	synctest.Wait()
}

func TestFlapping(t *testing.T) {
	for _, tt := range []struct {
		name, story, want string
		interval          time.Duration
		remind            time.Duration
		events            string
	}{
		{name: "one pair", story: "0s degraded, 1s recovered", want: "0s degraded, 1s recovered"},
		{name: "a long outage", story: "0s degraded, 3h recovered, 4h degraded", want: "0s degraded, 3h0m0s recovered, 4h0m0s degraded"},
		{name: "back at once after a long outage", story: "0s degraded, 3h recovered, 3h1s degraded, 3h2s recovered, 3h3s degraded",
			want: "0s degraded, 3h0m0s recovered, 3h0m1s degraded, 3h0m2s recovered, 3h5m1s degraded"},
		{name: "a second pair is folded", story: "0s degraded, 1m recovered, 2m degraded, 3m recovered, 10m degraded",
			want: "0s degraded, 1m0s recovered, 10m0s degraded +2"},
		{name: "down at the window's end", story: "0s degraded, 1m recovered, 2m degraded, 10m recovered",
			want: "0s degraded, 1m0s recovered, 5m0s degraded, 10m0s recovered"},
		{name: "down at the window's end after more", story: "0s degraded, 1m recovered, 2m degraded, 3m recovered, 4m degraded, 6m recovered, 7m degraded",
			want: "0s degraded, 1m0s recovered, 5m0s degraded +2, 6m0s recovered, 10m0s degraded"},
		{name: "up in the moment of the window's end", story: "0s degraded, 1m recovered, 2m degraded, 5m recovered, 6m degraded",
			want: "0s degraded, 1m0s recovered, 5m0s degraded, 5m0s recovered, 10m0s degraded"},
		{name: "others go on", story: "0s degraded, 1s recovered, 2s degraded, 3s model_added", want: "0s degraded, 1s recovered, 3s model_added, 5m0s degraded"},
		{name: "nothing is folded", interval: 1, story: "0s degraded, 1s recovered, 2s degraded, 3s recovered",
			want: "0s degraded, 1s recovered, 2s degraded, 3s recovered"},

		{name: "recovered alone, of a degraded before our time", story: "0s recovered, 1s degraded", want: "0s recovered, 1s degraded"},
		{name: "degraded twice", story: "0s degraded, 1m degraded, 6m degraded, 7m recovered", want: "0s degraded, 6m0s degraded +1, 7m0s recovered"},

		{name: "degraded twice within the window", story: "0s degraded, 1m recovered, 2m degraded, 3m degraded",
			want: "0s degraded, 1m0s recovered, 5m0s degraded +1"},
		{name: "held for longer than an event may wait", interval: 30 * time.Hour, story: "0s degraded, 1m recovered, 2m degraded, 31h model_added",
			want: "0s degraded, 1m0s recovered, 30h0m0s degraded, 31h0m0s model_added"},

		{name: "only degraded is wanted", events: "degraded", story: "0s degraded, 1m recovered, 2m degraded, 3m recovered, 4m degraded",
			want: "0s degraded, 5m0s degraded +1"},
		{name: "only recovered is wanted", events: "recovered", story: "0s degraded, 1m recovered, 2m degraded, 3m recovered, 6m degraded, 7m recovered",
			want: "1m0s recovered, 7m0s recovered +1"},

		{name: "another target is told at once", story: "0s degraded, 1m recovered, 2m degraded, 3m degraded of http://b, 4m recovered of http://b",
			want: "0s degraded, 1m0s recovered, 3m0s degraded of http://b +1, 4m0s recovered of http://b"},
		{name: "the old target is of no interest", story: "0s degraded, 1m recovered, 2m degraded, 3m target_changed to ollama at http://b, 10m degraded of http://b",
			want: "0s degraded, 1m0s recovered, 3m0s target_changed of http://b, 10m0s degraded of http://b +1"},
		{name: "another backend is another target", story: "0s degraded, 1m recovered, 2m target_changed to openai at " + target + ", 3m degraded",
			want: "0s degraded, 1m0s recovered, 2m0s target_changed, 3m0s degraded"},
		{name: "another target is well", story: "0s degraded, 1m recovered, 2m degraded, 3m recovered of http://b",
			want: "0s degraded, 1m0s recovered, 3m0s recovered of http://b +1"},
		{name: "another version is the same target", story: "0s degraded, 1m recovered, 2m target_changed to ollama at " + target + ", 3m degraded",
			want: "0s degraded, 1m0s recovered, 2m0s target_changed, 5m0s degraded"},

		{name: "reminders", remind: time.Hour, story: "0s degraded, 150m recovered, 5h model_added",
			want: "0s degraded, 1h0m0s degraded again, 2h0m0s degraded again, 2h30m0s recovered, 5h0m0s model_added"},
		{name: "reminders of what was held", remind: time.Hour, story: "0s degraded, 1m recovered, 2m degraded, 66m recovered",
			want: "0s degraded, 1m0s recovered, 5m0s degraded, 1h5m0s degraded again, 1h6m0s recovered"},
		{name: "no reminder of the old target", remind: time.Hour, story: "0s degraded, 1m target_changed to ollama at http://b, 5h model_added",
			want: "0s degraded, 1m0s target_changed of http://b, 5h0m0s model_added"},
		{name: "no reminder of what wasn't wanted", remind: time.Hour, events: "recovered", story: "0s degraded, 3h recovered", want: "3h0m0s recovered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := &recipient{}
				interval := 5 * time.Minute
				if tt.interval != 0 {
					interval = tt.interval
				}
				opts := outbox.Options{Events: []string{"*"}, MinInterval: interval, RemindEvery: tt.remind}
				if tt.events != "" {
					opts.Events = []string{tt.events}
				}
				q := start(t, r, t.TempDir(), opts)
				play(t, q, tt.story)
				if tt.remind == 0 {
					pass(5 * time.Hour)
				}
				if diff := cmp.Diff(tt.want, told(t, r)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestFoldedIsSaidToPeople(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{}
		opts := everything
		opts.MinInterval = 5 * time.Minute
		q := start(t, r, t.TempDir(), opts)
		play(t, q, "0s degraded, 1s recovered, 2s degraded, 3s recovered, 4s degraded, 5s recovered")
		if s := q.Status(); s.Folded != 4 || s.Delivered != 2 || s.Queued != 0 || s.Dropped != 0 {
			t.Errorf("status: %+v", s)
		}
		play(t, q, "6s degraded")
		pass(5 * time.Minute)
		last := r.got()[len(r.got())-1]
		if want := "Something happened. (4 more changes since the last message)"; last.Sentence != want {
			t.Errorf("got %q, want %q", last.Sentence, want)
		}
		if want := began.Add(6 * time.Second); last.ID != "id-0" || !last.At.Equal(want) {
			t.Errorf("it is %s of %v, not the event itself", last.ID, last.At)
		}
	})
}

func TestReminder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{}
		opts := everything
		opts.RemindEvery = time.Hour
		q := start(t, r, t.TempDir(), opts)
		e := core.NewEvent(core.EventDegraded, time.Now(), target, "The target is away.", core.DegradedData{Reason: core.ReasonRefused})
		e.ID = "01KAAAAAAAAAAAAAAAAAAAAAAA"
		q.Offer(e)
		pass(2 * time.Hour)
		first, second := r.got()[1], r.got()[2]
		if want := "The target is away. (still so, since 2000-01-01 00:00:00 UTC)"; first.Sentence != want || second.Sentence != want {
			t.Errorf("got %q and %q, want %q", first.Sentence, second.Sentence, want)
		}
		if len(first.ID) != len(e.ID) || first.ID == e.ID || first.ID == second.ID {
			t.Errorf("IDs: %s, %s, %s", e.ID, first.ID, second.ID)
		}
		if field(t, first.Event, "reason") != "refused" || !first.At.Equal(e.At.Add(time.Hour)) || first.Target != target {
			t.Errorf("the reminder: %+v", first)
		}
	})
}

func TestNoReminderBeforeItWasTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: fails(core.ErrUnavailable)}
		opts := everything
		opts.RemindEvery = time.Minute
		q := start(t, r, t.TempDir(), opts)
		play(t, q, "0s degraded")
		pass(12 * time.Hour)
		if s := q.Status(); s.Queued != 1 {
			t.Errorf("%d wait while the notifier is down, want the event alone", s.Queued)
		}
		r.answers(nil)
		q.Retry()
		pass(90 * time.Second)
		if diff := cmp.Diff("12h0m0s degraded, 12h1m0s degraded again", told(t, r)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNoReminderBeforeTheLastWasTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{answer: fails(core.ErrUnavailable)}
		opts := everything
		opts.RemindEvery = time.Minute
		q := start(t, r, t.TempDir(), opts)
		play(t, q, "0s degraded, 1m recovered, 6m degraded")
		r.answers(func(_ context.Context, e core.Event) error {
			if e.Type == core.EventRecovered {
				return core.ErrUnavailable
			}
			return nil
		})
		pass(12 * time.Hour)
		if s := q.Status(); s.Queued != 2 || s.Delivered != 1 {
			t.Errorf("of the first degraded, recovered, and degraded again: %+v", s)
		}
	})
}

func TestOptionsChangeWhatIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &recipient{}
		opts := everything
		opts.MinInterval = 24 * time.Hour
		q := start(t, r, t.TempDir(), opts)
		play(t, q, "0s degraded, 1s recovered, 2s degraded, 10s model_added")
		opts.MinInterval = time.Minute
		q.Set(opts)
		pass(time.Hour)
		opts.RemindEvery = 30 * time.Minute
		q.Set(opts)
		pass(time.Minute)
		opts.Events = []string{"recovered"}
		q.Set(opts)
		pass(time.Hour)
		q.Set(outbox.Options{Events: []string{"*"}, RemindEvery: opts.RemindEvery})
		synctest.Wait()
		want := "0s degraded, 1s recovered, 10s model_added, 1m0s degraded, 1h0m10s degraded again, 2h1m10s degraded again"
		if diff := cmp.Diff(want, told(t, r)); diff != "" {
			t.Error(diff)
		}
	})
}

// A day of flapping, with foreman started again now and then.
func TestAStormIsKeptSmallAndEndsInTheTruth(t *testing.T) {
	for seed := range uint64(10) {
		bubble(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			dir, r := t.TempDir(), &recipient{}
			opts := everything
			opts.MinInterval = 5 * time.Minute
			q := start(t, r, dir, opts)
			changes, kind, folded := 0, core.EventRecovered, 0
			for time.Since(began) < 24*time.Hour {
				pass(time.Duration(random.ExpFloat64() * float64(2*time.Minute)))
				if kind = core.EventDegraded; changes%2 == 1 {
					kind = core.EventRecovered
				}
				q.Offer(event(kind, fmt.Sprint("id-", changes)))
				changes++
				if random.IntN(20) == 0 {
					synctest.Wait()
					q.stop()
					folded += q.Status().Folded
					q = start(t, r, dir, opts)
				}
			}
			pass(5 * time.Minute)
			folded += q.Status().Folded
			if len(r.got())+folded != changes {
				t.Errorf("seed %d: %d told and %d folded of %d changes", seed, len(r.got()), folded, changes)
			}
			if last := r.got()[len(r.got())-1].Type; last != kind {
				t.Errorf("seed %d: the last message is %s, the truth %s", seed, last, kind)
			}
			var pairs []time.Duration
			for i, a := range r.got() {
				if want := []core.EventType{core.EventDegraded, core.EventRecovered}[i%2]; a.Type != want {
					t.Fatalf("seed %d: message %d is %s", seed, i, a.Type)
				}
				if a.Type == core.EventDegraded {
					pairs = append(pairs, a.after)
				}
			}
			for i := 1; i < len(pairs); i++ {
				if gap := pairs[i] - pairs[i-1]; gap < opts.MinInterval {
					t.Fatalf("seed %d: two pairs within %v", seed, gap)
				}
			}
		})
	}
}
