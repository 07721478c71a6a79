package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// told bounds the wait for an event that has to come.
const told = 15 * time.Second

// A listener hears a daemon's events.
type listener struct {
	heard chan core.Event
	err   error // readable once heard is closed
}

// hear hears the events that happen from its return on, until ctx ends.
func (d *daemon) hear(ctx context.Context, token string) (*listener, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url()+"/events", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("GET /events: %s", resp.Status)
	}
	l := &listener{heard: make(chan core.Event, 1000)}
	go func() {
		defer close(l.heard)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var event core.Event
			if l.err = json.Unmarshal([]byte(data), &event); l.err != nil {
				return
			}
			l.heard <- event
		}
		l.err = lines.Err()
	}()
	return l, nil
}

// next is the next event of a kind. Those of other kinds are passed over.
func (l *listener) next(kind core.EventType) (core.Event, error) {
	timeout := time.After(told)
	for {
		select {
		case event, ok := <-l.heard:
			switch {
			case !ok:
				return event, fmt.Errorf("the events ended before %s: %w", kind, l.err)
			case event.Type == kind:
				return event, nil
			case event.Type == core.EventConfigRejected:
				return event, fmt.Errorf("%s", event.Sentence)
			}
		case <-timeout:
			return core.Event{}, fmt.Errorf("no event %s within %v", kind, told)
		}
	}
}
