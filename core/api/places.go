package api

import (
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// stuckAfter is how long a reader may take over one write until its place is
// the first to go.
const stuckAfter = 3 * time.Second

// places bounds how many streams are open at a time. One that comes when all
// are taken gets the place of another: those who only hold streams can't keep
// others out, and a reader who is made to leave can come again.
//
// First goes who has been stuck in a write for longest. Otherwise it is the
// oldest stream of the holder who has most, the newcomer counted among them.
type places struct {
	most int

	mu   sync.Mutex
	held []*place // the oldest first
}

// A place is one stream's.
type place struct {
	holder holder
	conn   connection
	lost   chan struct{} // closed once another stream has it
	since  atomic.Int64  // Unix time in ns when the write under way began; 0 while there is none
}

// A holder is who has streams: the owner of a token, or without tokens what
// asks from one address. Of IPv6 that is a /64, which is one network's.
type holder struct {
	caller string
	from   netip.Prefix
}

func (s *service) holderOf(r *http.Request) holder {
	if caller, _ := s.guard.caller(r.Header); caller != "" {
		return holder{caller: caller}
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return holder{} // all who come by a socket that has no addresses
	}
	addr := remote.Addr()
	from, _ := addr.Prefix(min(addr.BitLen(), 64))
	return holder{from: from}
}

// take returns a place for r's stream, which has to be left.
func (p *places) take(r *http.Request, by holder) *place {
	conn, _ := r.Context().Value(connKey{}).(connection)
	taken := &place{holder: by, conn: conn, lost: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) >= p.most {
		p.makeRoom(by)
	}
	p.held = append(p.held, taken)
	return taken
}

func (p *places) leave(left *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = slices.DeleteFunc(p.held, func(other *place) bool { return other == left })
}

func (p *places) makeRoom(by holder) {
	goes := p.stuck()
	if goes == nil {
		goes = p.oldestOfMost(by)
	} else if goes.conn.Conn != nil {
		leave(goes.conn.Conn) // or its write would go on
	}
	close(goes.lost)
	p.held = slices.DeleteFunc(p.held, func(other *place) bool { return other == goes })
}

// stuck is the place whose write has been under way for longest, or nil.
func (p *places) stuck() (longest *place) {
	first := time.Now().Add(-stuckAfter).UnixNano()
	for _, held := range p.held {
		if since := held.since.Load(); since != 0 && since <= first {
			longest, first = held, since
		}
	}
	return longest
}

func (p *places) oldestOfMost(by holder) (goes *place) {
	counts := map[holder]int{by: 1}
	for _, held := range p.held {
		counts[held.holder]++
	}
	for _, held := range p.held {
		switch n := counts[held.holder]; {
		case goes == nil, n > counts[goes.holder],
			n == counts[goes.holder] && held.holder == by && goes.holder != by:
			goes = held
		}
	}
	return goes
}

// write reports whether the reader of w takes frames.
func (p *place) write(w http.ResponseWriter, frames []byte) bool {
	p.since.Store(time.Now().UnixNano())
	defer p.since.Store(0)
	_, err := w.Write(frames)
	return err == nil && http.NewResponseController(w).Flush() == nil
}
