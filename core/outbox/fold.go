package outbox

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
)

// An entry is a message that waits.
type entry struct {
	N      uint64     `json:"n"`      // its number in the journal
	Since  time.Time  `json:"since"`  // what its age counts from
	Folded int        `json:"folded"` // changes that it tells with its own
	Event  core.Event `json:"event"`
}

// A fold is what the notifier believes of a target's health, once it has got
// what waits, and what is kept from it. The package comment draws its states.
type fold struct {
	Target string      `json:"target"`
	Down   bool        `json:"down"`
	Began  time.Time   `json:"began,omitzero"` // the window, with the last degraded that was let through
	Held   *core.Event `json:"held,omitempty"` // a degraded that waits for the window's end
	Folded int         `json:"folded"`         // changes that the next message tells

	Told     *core.Event `json:"told,omitempty"`   // the degraded that was let through, while Down and if it was wanted
	OnItsWay string      `json:"on_its_way"`       // ID of Told or of its reminder, until that has arrived
	ToldAt   time.Time   `json:"told_at,omitzero"` // when it had

	kept int // changes folded since the start
}

// aboutHealth reports whether folding must see such events, wanted or not.
func aboutHealth(kind core.EventType) bool {
	return kind == core.EventDegraded || kind == core.EventRecovered || kind == core.EventTargetChanged
}

// take returns what is to be told, now that event has happened.
func (f *fold) take(event core.Event, now time.Time, opts Options) []entry {
	switch event.Type {
	case core.EventDegraded:
		f.turnTo(event.Target, opts)
		return f.degraded(event, now, opts)
	case core.EventRecovered:
		f.turnTo(event.Target, opts)
		return f.recovered(event, opts)
	case core.EventTargetChanged:
		if isSwitch(event) {
			f.leave(opts)
		}
	}
	if !opts.wants(event.Type) {
		return nil
	}
	return []entry{{Since: event.At, Event: event}}
}

func (f *fold) degraded(event core.Event, now time.Time, opts Options) []entry {
	inWindow := now.Before(f.windowEnd(opts))
	switch {
	case f.Held != nil, f.Down && inWindow: // the recovered between was dropped
		f.fold(event, opts)
		return nil
	case inWindow:
		f.Held = &event
		return nil
	default:
		return f.letThrough(event, event.At, now, opts)
	}
}

func (f *fold) recovered(event core.Event, opts Options) []entry {
	if f.Held != nil {
		f.fold(*f.Held, opts)
		f.fold(event, opts)
		f.Held = nil
		return nil
	}
	f.Down, f.Told = false, nil
	return f.tell(event, event.At, opts)
}

// letThrough tells of a degraded.
func (f *fold) letThrough(event core.Event, since, now time.Time, opts Options) []entry {
	f.Down, f.Began, f.Held, f.Told = true, now, nil, nil
	if opts.wants(event.Type) {
		f.Told, f.OnItsWay = &event, event.ID
	}
	return f.tell(event, since, opts)
}

func (f *fold) tell(event core.Event, since time.Time, opts Options) []entry {
	if !opts.wants(event.Type) {
		return nil
	}
	told := entry{Since: since, Folded: f.Folded, Event: event}
	f.Folded = 0
	return []entry{told}
}

// fold keeps a change back for good.
func (f *fold) fold(event core.Event, opts Options) {
	if opts.wants(event.Type) {
		f.Folded++
		f.kept++
	}
}

// tend returns what is to be told because time went by.
func (f *fold) tend(now time.Time, opts Options) []entry {
	due := f.due(opts)
	switch {
	case due.IsZero() || now.Before(due):
		return nil
	case f.Held != nil:
		return f.letThrough(*f.Held, now, now, opts)
	default:
		reminder := remind(*f.Told, now)
		f.OnItsWay = reminder.ID
		return f.tell(reminder, now, opts)
	}
}

// due is when tend has something to do, or zero.
func (f *fold) due(opts Options) time.Time {
	switch {
	case f.Held != nil:
		return f.windowEnd(opts)
	case f.Told != nil && f.OnItsWay == "" && opts.RemindEvery > 0 && opts.wants(f.Told.Type):
		return f.ToldAt.Add(opts.RemindEvery)
	default:
		return time.Time{}
	}
}

// settled says that an event has arrived, or never will.
func (f *fold) settled(event core.Event, now time.Time) {
	if event.Type == core.EventDegraded && event.ID == f.OnItsWay {
		f.OnItsWay, f.ToldAt = "", now
	}
}

// windowEnd is long ago if there was no window yet.
func (f *fold) windowEnd(opts Options) time.Time { return f.Began.Add(opts.MinInterval) }

// turnTo begins anew if the health is another target's.
func (f *fold) turnTo(target string, opts Options) {
	if f.Target != target {
		f.leave(opts)
		f.Target = target
	}
}

func (f *fold) leave(opts Options) {
	if f.Held != nil {
		f.fold(*f.Held, opts)
	}
	*f = fold{Folded: f.Folded, kept: f.kept}
}

// restored corrects what an earlier foreman saved, if the clock was set back.
func (f *fold) restored(now time.Time) {
	for _, at := range []*time.Time{&f.Began, &f.ToldAt} {
		if at.After(now) {
			*at = now
		}
	}
}

// isSwitch tells another target from another version of the same one.
func isSwitch(event core.Event) bool {
	var data core.TargetChangedData
	err := json.Unmarshal(event.Data, &data)
	return err == nil && (data.Was.Backend != data.Now.Backend || data.Was.URL != data.Now.URL)
}

// remind is the event again: as one of its own, that says since when.
func remind(event core.Event, now time.Time) core.Event {
	since := event.At.UTC().Format("2006-01-02 15:04:05 MST")
	event.ID, event.At = ulid.Make().String(), now.UTC().Truncate(time.Millisecond)
	return amend(event, "reminder", true, "(still so, since "+since+")")
}

// message is what the notifier gets, after as many events that it never will.
func (e entry) message(dropped int) core.Event {
	event := e.Event
	if dropped > 0 {
		event = amend(event, "dropped", dropped, "("+count(dropped, "event")+" before this one dropped)")
	}
	if e.Folded > 0 {
		event = amend(event, "folded", e.Folded, "("+count(e.Folded, "more change")+" since the last message)")
	}
	return event
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// amend returns the event with a field more, and a remark for people.
func amend(event core.Event, field string, value any, remark string) core.Event {
	var data map[string]json.RawMessage
	if err := json.Unmarshal(event.Data, &data); err != nil || data == nil {
		data = make(map[string]json.RawMessage)
	}
	data[field], _ = json.Marshal(value) // a number or a bool
	event.Data, _ = json.Marshal(data)
	event.Sentence += " " + remark
	return event
}
