package api

import (
	"context"
	"net/http"

	"github.com/seed-af7fee88/foreman/core"
)

// Do attempts work once, watched over as a caller's request is, and returns
// when its answer is whole. A target that can't be reached, or breaks off, is
// a [*core.Fault] or [core.ErrUnavailable]; other errors are of ctx and of
// sink. The caller has a turn for it.
func (s *Server) Do(ctx context.Context, work core.Work, sink core.Sink) error {
	return s.current.Load().do(ctx, work, sink)
}

func (s *service) do(ctx context.Context, work core.Work, sink core.Sink) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, work.Path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	name, err := modelOf(work.Body, "model")
	if err != nil {
		return err
	}
	changes := changesResidency(work.Body, name, s.inventory.Snapshot())
	body := work.Body
	if work.Pin {
		body = s.pin(work.Path, name, body)
	}
	x, err := s.attempt(r, &payload{budget: s.bodies, data: body})
	if err != nil {
		return err
	}
	defer x.end()
	if err := x.check(); err != nil {
		return err
	}
	if changes {
		s.residencyChanged()
		defer s.residencyChanged()
	}
	sink.Begin(x.resp.StatusCode, x.resp.Header.Get("Content-Type"))
	broken, refused := x.pour(func(piece []byte, _ bool) error {
		_, err := sink.Write(piece)
		return err
	})
	if broken != nil {
		return unreachable(broken)
	}
	return refused
}
