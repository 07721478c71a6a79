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
	return func(yield func(core.Event, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		silence := time.AfterFunc(clientTimeout, func() { cancel(errHush) })
		defer silence.Stop()
		stream, err := c.listen(ctx, after)
		if err != nil {
			yield(core.Event{}, err)
			return
		}
		defer stream.Close()
		var name, data string
		lines := bufio.NewScanner(stream)
		lines.Buffer(nil, longestFrame)
		for silence.Reset(hush); lines.Scan(); silence.Reset(hush) {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); {
			case field == "event":
				name = value
			case field == "data":
				data = value
			case field == "" && data != "": // the frame is whole
				silence.Stop() // the caller takes its time
				event, err := readFrame(name, data)
				if !yield(event, err) || err != nil && !errors.Is(err, ErrGap) {
					return
				}
				name, data = "", ""
			}
		}
		yield(core.Event{}, c.noDaemon(ctx, cmp.Or(lines.Err(), errors.New("its events ended"))))
	}
}

func readFrame(name, data string) (event core.Event, err error) {
	if name == gapEvent {
		return event, ErrGap
	}
	if err = json.Unmarshal([]byte(data), &event); err != nil {
		err = fmt.Errorf("the daemon's event can't be read: %w", err)
	}
	return event, err
}

// listen returns the stream of events, which ends with ctx.
func (c *Client) listen(ctx context.Context, after string) (io.ReadCloser, error) {
	header := http.Header{}
	if after != "" {
		header.Set("Last-Event-ID", after)
	}
	endless := c.http
	endless.Timeout = 0
	resp, err := c.open(ctx, &endless, "/events", header)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.noDaemon(ctx, err)
	}
	return nil, refusal(resp.StatusCode, body)
}
