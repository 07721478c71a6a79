// Package events gives what happened to whoever wants to hear of it. Its
// [Follower] is the one goroutine that turns snapshots into events; its
// [Feed] numbers the events of all of foreman and remembers the last of them,
// for readers that come back.
package events

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
)

// A Feed remembers the last events. Its methods may be called by anybody and
// never wait.
type Feed struct {
	capacity int

	mu      sync.Mutex
	held    []core.Event  // by ID, the oldest first
	dropped string        // ID of the last event that made room; "" if none did
	newer   chan struct{} // closes at the next event
	lastMS  uint64        // of the newest ID
	random  *ulid.MonotonicEntropy
}

// NewFeed is a feed that holds capacity events, and none yet.
func NewFeed(capacity int) *Feed {
	return &Feed{capacity: max(1, capacity), newer: make(chan struct{}), random: ulid.Monotonic(rand.Reader, 0)}
}

// Publish gives the event an ID, which is greater than every one before,
// remembers it in place of the oldest, and returns it.
func (f *Feed) Publish(event core.Event) core.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	event.ID = f.mint()
	if len(f.held) == f.capacity {
		f.dropped = f.held[0].ID
		f.held[0] = core.Event{} // the array outlives it
		f.held = f.held[1:]
	}
	f.held = append(f.held, event)
	close(f.newer)
	f.newer = make(chan struct{})
	return event
}

// Since is what came after the event with that ID, and a channel that closes
// when there is more. complete says that it is all that came: after an ID
// that the memory doesn't reach back to, or that another foreman gave, it is
// all that is held instead.
//
// "" is before the first event. A reader that wants news alone begins with
// Since(""), goes on from the last ID of that list, unread, and from "" if it
// is empty.
func (f *Feed) Since(id string) (list []core.Event, complete bool, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, known := f.after(id)
	return slices.Clone(f.held[from:]), known, f.newer
}

// after is where in held the events after id begin.
func (f *Feed) after(id string) (from int, known bool) {
	if id == f.dropped {
		return 0, true
	}
	i, found := slices.BinarySearchFunc(f.held, id, func(e core.Event, id string) int { return strings.Compare(e.ID, id) })
	if !found {
		return 0, false
	}
	return i + 1, true
}

// mint makes the next ID. A clock that is set back doesn't take IDs with it.
func (f *Feed) mint() string {
	f.lastMS = max(f.lastMS, ulid.Timestamp(time.Now()))
	id, err := ulid.New(f.lastMS, f.random)
	if err != nil { // this millisecond has no greater ones left
		f.lastMS++
		id = ulid.MustNew(f.lastMS, f.random)
	}
	return id.String()
}
