package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	firstPause = 200 * time.Millisecond // before a second attempt
	mostPause  = 2 * time.Second
	// copyBuffer is held by each open stream. What fills it leaves in one
	// write, since net/http adds a chunk's frame in a buffer of 4 KiB.
	copyBuffer = 4<<10 - 16
)

// inference passes a request to the target and the target's bytes back,
// piece by piece. The body is read whole first: it names the model, and
// net/http cuts some streams that begin while the request is still being read
// (golang/go#40747).
//
//	read ──► admit ──► turn ──► attempt ──first byte──► relay, until either side ends
//	                             │   ▲
//	                             └───┘ away: again, while the caller waits, up to retry.max_wait
func (s *service) inference(w http.ResponseWriter, r *http.Request) error {
	arrived := time.Now()
	payload, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	defer payload.drop()
	name, err := modelOf(payload.data, "model")
	if err != nil {
		return err
	}
	if err := s.admit(r.Context(), name); err != nil {
		return err
	}
	turn, err := s.turn(r, name, payload.data)
	if err != nil {
		return err
	}
	defer turn.Done()
	changes := changesResidency(payload.data, name, s.inventory.Snapshot())
	if turn.More() {
		payload.data = s.pin(r.URL.Path, name, payload.data)
	}
	x, err := s.reach(r, payload, arrived)
	if err != nil {
		if r.Context().Err() == nil {
			turn.Failed()
		}
		return err
	}
	defer x.end()
	if err := x.check(); err != nil {
		return err
	}
	if x.resp.StatusCode >= http.StatusInternalServerError {
		defer turn.Failed()
	}
	if changes {
		s.residencyChanged() // it is loaded by now
		defer s.residencyChanged()
	}
	return x.relay(w, r)
}

// residencyChanged has the target looked at, and the next caller of /api/ps
// wait for that: the stock client's ps follows its stop at once.
func (s *service) residencyChanged() {
	now := time.Now()
	s.changed.Store(&now)
	s.inventory.Nudge()
}

// changesResidency reports whether the request loads or unloads a model, as
// far as one can tell.
func changesResidency(body []byte, name string, snapshot *core.Snapshot) bool {
	return bytes.Contains(body, []byte(`"keep_alive"`)) || !snapshot.Residency.Has(core.NameOf(name))
}

// reach attempts the request until the target begins to answer. While it is
// away that is retried: this is the only retry that native clients have.
func (s *service) reach(r *http.Request, p *payload, arrived time.Time) (*exchange, error) {
	var x *exchange
	err := s.patiently(r.Context(), arrived, func() (err error) {
		x, err = s.attempt(r, p)
		return err
	})
	return x, err
}

// patiently calls try until it succeeds, or fails for good, up to
// retry.max_wait. That counts from the request's arrival, or from the target's
// last sign of life since: else those who wait for a turn would wait for each
// other's retries, too.
func (s *service) patiently(ctx context.Context, arrived time.Time, try func() error) error {
	err := try()
	if err == nil {
		return nil
	}
	// A model may have been loading for minutes before the target went away.
	over := s.pulse.lastAfter(arrived).Add(s.opts.RetryMaxWait)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, mostPause
	for err != nil && ctx.Err() == nil && !isFinal(err) {
		s.inventory.Nudge()
		wait := pause.NextBackOff()
		if time.Now().Add(wait).After(over) {
			break
		}
		select {
		case <-time.After(wait):
			err = try()
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}

// isFinal reports whether the target would say nothing else if it were asked
// again.
func isFinal(err error) bool {
	if _, ok := errors.AsType[*defect](err); ok || errors.Is(err, errSilent) || errors.Is(err, errSlow) {
		return true
	}
	fault, ok := errors.AsType[*core.Fault](err)
	return ok && (fault.Reason == core.ReasonRedirect || fault.Reason == core.ReasonTooLarge)
}

// attempt sends the request once and returns when the target begins to
// answer. Its error is a [*core.Fault], [core.ErrUnavailable] or the caller's
// own.
func (s *service) attempt(r *http.Request, p *payload) (*exchange, error) {
	upstream, err := s.deps.Upstream()
	if err != nil {
		return nil, err
	}
	url := upstream.URL + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		url += "?" + r.URL.RawQuery
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	body := p.open()
	req, err := http.NewRequestWithContext(ctx, r.Method, url, body)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	req.ContentLength = int64(len(p.data))
	req.GetBody = func() (io.ReadCloser, error) { // for a pooled connection that turns out dead
		body = p.open()
		return body, nil
	}
	req.Header = forwarded(r.Header)
	maps.Copy(req.Header, upstream.Header)
	x := &exchange{vigil: vigil{pulse: s.pulse, ctx: ctx, cancel: cancel}}
	x.vigil.begin()
	x.resp, err = s.target.wires.RoundTrip(req) // its error is the cause, if ctx has ended
	if err != nil {
		x.end()
		return nil, unreachable(err)
	}
	x.vigil.heard()
	if body.done() { // else the target answers before it has read all
		p.drop()
	}
	return x, nil
}

// An exchange is a request that the target has begun to answer.
type exchange struct {
	vigil vigil
	resp  *http.Response // nil if it never began
}

// check refuses an answer that is none: no transport follows a redirect, and
// a caller shouldn't.
func (x *exchange) check() error {
	if x.resp.StatusCode/100 == 3 {
		return &core.Fault{Reason: core.ReasonRedirect, Detail: "the target answered a redirect"}
	}
	return nil
}

func (x *exchange) end() {
	x.vigil.end()
	if x.resp != nil {
		_ = x.resp.Body.Close()
	}
}

var buffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// relay writes the answer as it comes. A target that breaks off breaks the
// caller's stream too: it mustn't look like a clean end.
func (x *exchange) relay(w http.ResponseWriter, r *http.Request) error {
	streamed := x.resp.ContentLength < 0
	answered(w.Header(), x.resp.Header, streamed)
	w.WriteHeader(x.resp.StatusCode)
	flusher := http.NewResponseController(w)
	broken, _ := x.pour(func(piece []byte, last bool) error { // if it fails the caller has left; end cancels the target's work
		if _, gone := w.Write(piece); gone != nil || !streamed || last { // net/http flushes the last piece together with the end
			return gone
		}
		return flusher.Flush()
	})
	if broken != nil {
		breakOff(r)
	}
	return nil
}

// pour gives the answer to take as it comes, and says which side it ended on
// before its end: broken is of the target, refused of take.
func (x *exchange) pour(take func(piece []byte, last bool) error) (broken, refused error) {
	buf := buffers.Get().(*[copyBuffer]byte)
	defer buffers.Put(buf)
	for {
		n, err := x.resp.Body.Read(buf[:])
		x.vigil.heard()
		if n > 0 {
			if refused := take(buf[:n], err != nil); refused != nil {
				return nil, refused
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}
