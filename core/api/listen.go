package api

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// ErrGap stands in a stream of events for those that the daemon has forgotten.
var ErrGap = errors.New("the daemon doesn't remember all events in between")

const (
	// hush is how long a stream is silent until its daemon counts as gone.
	hush = 3 * heartbeat
	// longestFrame is how long a line of a stream may be.
	longestFrame = 1 << 20
)

var errHush = errors.New("no answer in time")

// Events asks GET /events for what happens after the event of that ID, or
// from now on if it is "". [ErrGap] may come first, and the stream goes on.
// Any other error is the last that comes: [ErrNoDaemon] if the stream ends or
// falls silent, after which the caller may ask again from the last ID.
func (c *Client) Events(ctx context.Context, after string) iter.Seq2[core.Event, error] {
	header := http.Header{}
	if after != "" {
		header.Set("Last-Event-ID", after)
	}
	return func(yield func(core.Event, error) bool) {
		for f, err := range c.frames(ctx, "/events", header) {
			var event core.Event
			if err == nil {
				event, err = f.event()
			}
			if !yield(event, err) || err != nil && !errors.Is(err, ErrGap) {
				return
			}
		}
	}
}

// A frame is one server-sent event.
type frame struct{ name, data string }

func (f frame) event() (event core.Event, err error) {
	if f.name == gapEvent {
		return event, ErrGap
	}
	return event, f.decode(&event)
}

func (f frame) decode(into any) error {
	if err := json.Unmarshal([]byte(f.data), into); err != nil {
		return fmt.Errorf("the daemon's event can't be read: %w", err)
	}
	return nil
}

// frames asks path for a stream. An error is the last that comes, and one
// always does: [ErrNoDaemon] if the stream ends or falls silent.
func (c *Client) frames(ctx context.Context, path string, header http.Header) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		silence := time.AfterFunc(clientTimeout, func() { cancel(errHush) })
		defer silence.Stop()
		stream, err := c.listen(ctx, path, header)
		if err != nil {
			yield(frame{}, err)
			return
		}
		defer stream.Close()
		var f frame
		lines := bufio.NewScanner(stream)
		lines.Buffer(nil, longestFrame)
		for silence.Reset(hush); lines.Scan(); silence.Reset(hush) {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); {
			case field == "event":
				f.name = value
			case field == "data":
				f.data = value
			case field == "" && f.data != "": // the frame is whole
				silence.Stop() // the caller takes its time
				if !yield(f, nil) {
					return
				}
				f = frame{}
			}
		}
		yield(frame{}, c.noDaemon(ctx, cmp.Or(lines.Err(), errors.New("its events ended"))))
	}
}

// listen returns a stream of events, which ends with ctx.
func (c *Client) listen(ctx context.Context, path string, header http.Header) (io.ReadCloser, error) {
	endless := c.http
	endless.Timeout = 0
	resp, err := c.open(ctx, &endless, http.MethodGet, path, header, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	_, err = c.answered(ctx, resp)
	return nil, cmp.Or(err, errors.New("the daemon answered something else than a stream"))
}
