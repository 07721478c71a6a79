package api

import (
	"bytes"
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
)

// budget is how many bytes of bodies may be held at a time.
func budget(maxBody int64) int64 { return max(leastBudget, 8*maxBody) }

// A payload is a request's body, whole and decoded. It takes part of the
// budget for all bodies until it is dropped: while a stream goes on for
// minutes nobody needs what it was asked with.
type payload struct {
	budget *semaphore.Weighted

	mu    sync.Mutex
	data  []byte // nil once dropped
	taken int64
}

// readBody reads at most max_body bytes, sent or decoded. The payload is to
// be dropped.
func (s *service) readBody(w http.ResponseWriter, r *http.Request) (*payload, error) {
	sent := http.MaxBytesReader(w, r.Body, s.opts.MaxBody)
	plain, err := decoded(sent, strings.Join(r.Header.Values("Content-Encoding"), ", "))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	p := &payload{budget: s.bodies}
	if err := p.fill(r.Context(), plain, s.opts.MaxBody); err != nil {
		p.drop()
		return nil, err
	}
	return p, nil
}

// fill reads plain to its end, a step of the budget at a time.
func (p *payload) fill(ctx context.Context, plain io.Reader, most int64) error {
	var body bytes.Buffer
	var err error
	for err == nil {
		if err := p.take(ctx, bodyStep); err != nil {
			return err
		}
		_, err = io.CopyN(&body, plain, bodyStep)
		if int64(body.Len()) > most {
			return &http.MaxBytesError{Limit: most}
		}
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return err
	}
	if !errors.Is(err, io.EOF) {
		return errorf(http.StatusBadRequest, "the request's body can't be read to its end")
	}
	p.data = body.Bytes()
	p.giveBack(p.taken - int64(len(p.data)))
	return nil
}

func (p *payload) take(ctx context.Context, n int64) error {
	if !p.budget.TryAcquire(n) && !p.queue(ctx, n) {
		return &httpError{status: http.StatusServiceUnavailable, retryAfter: retrySeconds,
			message: "foreman holds as many requests as it has memory for"}
	}
	p.taken += n
	return nil
}

func (p *payload) queue(ctx context.Context, n int64) bool {
	ctx, cancel := context.WithTimeout(ctx, bodyPatience)
	defer cancel()
	return p.budget.Acquire(ctx, n) == nil
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
