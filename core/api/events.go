package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// maxStreams is how many may follow the events at a time; see [places].
	maxStreams = 64
	// heartbeat is how long a stream is silent at most: proxies between cut
	// what seems dead, and a client can tell that foreman is.
	heartbeat = 15 * time.Second
	// gapEvent is the name of the frame that says that events after the one
	// the caller has seen are forgotten. The rest of the stream follows it.
	gapEvent = "gap"
)

// events answers GET /events: what happens, as server-sent events, from now
// on or from after the event in Last-Event-ID. ?types= has patterns, with
// commas between, of the types that are wanted.
//
// A caller who reads more slowly than events are forgotten is cut off: it
// comes again with the last ID, and is told that there is a gap. So is one
// whose token has been taken away, and one whose place another gets: its
// stream ends with the ID up to which it has seen all.
func (s *service) events(w http.ResponseWriter, r *http.Request) error {
	wanted, err := parseTypes(r.URL.Query()["types"])
	if err != nil {
		return err
	}
	beginEvents(w)
	if r.Method != http.MethodHead {
		place := s.streams.take(r, s.holderOf(r))
		defer s.streams.leave(place)
		s.follow(w, r, wanted, place)
	}
	return nil
}

// beginEvents begins a stream of server-sent events.
func beginEvents(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // a proxy in front must not hold it back
	w.WriteHeader(http.StatusOK)
}

// follow writes events until one of the two sides has enough.
func (s *service) follow(w http.ResponseWriter, r *http.Request, wanted eventFilter, place *place) {
	after := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("last_event_id"))
	pending, last, complete, more := s.since(after, wanted)
	switch {
	case after == "":
		pending = nil
	case !complete:
		pending = append(appendFrame(nil, "", gapEvent, map[string]string{"after": after}), pending...)
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if !place.write(w, pending) {
			return // the caller has left, or doesn't read
		}
		pending = nil
		select {
		case <-more:
			if pending, last, complete, more = s.since(last, wanted); !complete {
				return
			}
		case <-beat.C:
			pending = []byte(":\n\n")
		case <-r.Context().Done():
			return
		case <-place.conn.stops:
			return
		case <-place.lost:
			if last != "" {
				place.write(w, fmt.Appendf(nil, "id: %s\n\n", last))
			}
			return
		}
		if s.current.Load().guard.check(r) != nil {
			return
		}
	}
}

// since has what came after an event as frames, and the last ID of it, wanted
// or not. complete and more are as [Events] has them.
func (s *service) since(after string, wanted eventFilter) (frames []byte, last string, complete bool, more <-chan struct{}) {
	list, complete, more := s.deps.Events.Since(after)
	if last = after; !complete {
		last = "" // of an event that is forgotten
	}
	for _, e := range list {
		if last = e.ID; wanted.has(e.Type) {
			frames = append(frames, s.frames.of(e)...)
		}
	}
	return frames, last, complete, more
}

// appendFrame appends one server-sent event, without an id if that is "".
func appendFrame(to []byte, id, name string, data any) []byte {
	line, err := json.Marshal(data)
	if err != nil {
		return to // an event's Data isn't JSON: there is nothing to tell
	}
	if id != "" {
		to = fmt.Appendf(to, "id: %s\n", id)
	}
	return fmt.Appendf(to, "event: %s\ndata: %s\n\n", name, line)
}

// A frameMemory has the frames of some events, so that each is encoded once
// for all who follow. Where two belong in one slot, the later one stays.
type frameMemory struct {
	slots [256]atomic.Pointer[eventFrame]
}

type eventFrame struct {
	id    string
	frame []byte
}

var frameSeed = maphash.MakeSeed()

func (m *frameMemory) of(e core.Event) []byte {
	slot := &m.slots[maphash.String(frameSeed, e.ID)%uint64(len(m.slots))]
	if known := slot.Load(); known != nil && known.id == e.ID {
		return known.frame
	}
	frame := appendFrame(nil, e.ID, string(e.Type), e)
	slot.Store(&eventFrame{e.ID, frame})
	return frame
}

// An eventFilter is patterns of types; none has all.
type eventFilter []string

func (f eventFilter) has(kind core.EventType) bool {
	return len(f) == 0 || kind.Matches(f...)
}

// parseTypes refuses a pattern that no type of event matches.
func parseTypes(values []string) (eventFilter, error) {
	var wanted eventFilter
	for _, value := range values {
		for pattern := range strings.SplitSeq(value, ",") {
			if pattern = strings.TrimSpace(pattern); !slices.ContainsFunc(core.EventTypes(), eventFilter{pattern}.has) {
				return nil, errorf(http.StatusBadRequest, "no type of event matches %q", pattern)
			}
			wanted = append(wanted, pattern)
		}
	}
	return wanted, nil
}
