package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// bodyStep is how much of a body is read before the next part of the
	// budget is taken: slow senders hold little of it.
	bodyStep = 256 << 10
	// bodyPatience is how long a request waits for a part of the budget.
	bodyPatience = 10 * time.Second
	// leastBudget is what all bodies together may take, or eight of the
	// largest, if that is more.
	leastBudget = 256 << 20
	// largeBody is how much of a body is read before it waits for one of
	// mostLarge places: else many that come at once all stop half-read, for each
	// other's parts of the budget. Who sends slowly loses the place soon, and who
	// gets none goes on without.
	largeBody  = 1 << 20
	mostLarge  = 3
	placeLasts = 3 * time.Second
)

// budget is how many bytes of bodies may be held at a time.
func budget(maxBody int64) int64 { return max(leastBudget, 8*maxBody) }

// A payload is a request's body, whole and decoded. It takes part of the
// budget for all bodies until it is dropped: while a stream goes on for
// minutes nobody needs what it was asked with.
type payload struct {
	budget *semaphore.Weighted
	large  *semaphore.Weighted
	leave  func() // gives up the place of a large body; nil if none was sought

	mu    sync.Mutex
	data  []byte // nil once dropped
	taken int64
}

// readBody reads at most max_body bytes, sent or decoded. The payload is to
// be dropped.
func (s *service) readBody(w http.ResponseWriter, r *http.Request) (*payload, error) {
	p, err := s.takeIn(w, r)
	if err == nil {
		p.makeWay()
	}
	return p, err
}

// takeIn is readBody of what is soon dropped: until then a large payload keeps
// its place, so that few are worked on at a time.
func (s *service) takeIn(w http.ResponseWriter, r *http.Request) (*payload, error) {
	sent := http.MaxBytesReader(w, r.Body, s.opts.MaxBody)
	plain, err := decoded(sent, strings.Join(r.Header.Values("Content-Encoding"), ", "))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	p := &payload{budget: s.bodies, large: s.large}
	if err := p.fill(r.Context(), plain, s.opts.MaxBody, r.ContentLength); err != nil {
		p.drop()
		return nil, err
	}
	return p, nil
}

// fill reads plain to its end, a step of the budget at a time. It may be of any
// length up to most; if it is as long as expected that saves memory.
func (p *payload) fill(ctx context.Context, plain io.Reader, most, expected int64) error {
	var body []byte
	var err error
	for err == nil {
		if len(body) >= largeBody {
			p.enter(ctx)
		}
		if err := p.take(ctx, bodyStep); err != nil {
			return err
		}
		for got := 0; got < bodyStep && err == nil; {
			body = withRoom(body, expected)
			var n int
			n, err = plain.Read(body[len(body):min(cap(body), len(body)+bodyStep-got)])
			body, got = body[:len(body)+n], got+n
		}
		if int64(len(body)) > most {
			return &http.MaxBytesError{Limit: most}
		}
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return err
	}
	if !errors.Is(err, io.EOF) {
		return errorf(http.StatusBadRequest, "the request's body can't be read to its end")
	}
	p.data = body
	p.giveBack(p.taken - int64(len(p.data)))
	return nil
}

// withRoom is body with room for more. It grows to twice its size, but not
// beyond what is expected and a byte for the end: who sends slowly doesn't hold
// all at once, and a large body isn't held twice.
func withRoom(body []byte, expected int64) []byte {
	if len(body) < cap(body) {
		return body
	}
	size := max(4<<10, 2*len(body))
	if whole := int(expected) + 1; len(body) < whole {
		size = min(size, whole)
	}
	return append(make([]byte, 0, size), body...)
}

func (p *payload) take(ctx context.Context, n int64) error {
	if !queue(ctx, p.budget, n) {
		return &httpError{status: http.StatusServiceUnavailable, retryAfter: retrySeconds,
			message: "foreman holds as many requests as it has memory for"}
	}
	p.taken += n
	return nil
}

func queue(ctx context.Context, of *semaphore.Weighted, n int64) bool {
	if of.TryAcquire(n) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, bodyPatience)
	defer cancel()
	return of.Acquire(ctx, n) == nil
}

// enter waits for a place of a large body, once.
func (p *payload) enter(ctx context.Context) {
	if p.leave != nil {
		return
	}
	if p.leave = func() {}; queue(ctx, p.large, 1) {
		p.leave = sync.OnceFunc(func() { p.large.Release(1) })
		time.AfterFunc(placeLasts, p.leave)
	}
}

func (p *payload) makeWay() {
	if p.leave != nil {
		p.leave()
	}
}

func (p *payload) giveBack(n int64) {
	p.budget.Release(n)
	p.taken -= n
}

// drop lets go of the bytes. Dropping twice is once.
func (p *payload) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = nil
	p.giveBack(p.taken)
	p.makeWay()
}

// open returns a reader of the whole payload. What it hasn't read by the time
// the payload is dropped is gone.
func (p *payload) open() *upload { return &upload{payload: p} }

// An upload is one reading of a payload, on its way to the target.
type upload struct {
	payload *payload
	at      int
}

func (u *upload) Read(b []byte) (int, error) {
	u.payload.mu.Lock()
	defer u.payload.mu.Unlock()
	if u.at >= len(u.payload.data) {
		return 0, io.EOF
	}
	n := copy(b, u.payload.data[u.at:])
	u.at += n
	return n, nil
}

// Close implements [io.Closer].
func (u *upload) Close() error { return nil }

// done reports whether all of the payload has been read.
func (u *upload) done() bool {
	u.payload.mu.Lock()
	defer u.payload.mu.Unlock()
	return u.at >= len(u.payload.data)
}
