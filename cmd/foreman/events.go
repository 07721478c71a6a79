package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// askAgain is the pause before a daemon that went away is asked again.
const askAgain = time.Second

// follow prints each event of a daemon that has answered before, as it comes,
// until it is interrupted. One that goes away is waited for.
func (e *env) follow(ctx context.Context, client *api.Client, print func(core.Event) error) error {
	last, told := "", ""
	for {
		for event, err := range client.Events(ctx, last) {
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, api.ErrGap):
				e.warn("%v", err)
				continue
			case errors.Is(err, api.ErrNotAllowed):
				return cantTell(err)
			case err != nil:
				if told != err.Error() {
					told = err.Error()
					e.warn("%s", told)
				}
				continue // it was the last of this connection
			}
			if err := print(event); err != nil {
				return err
			}
			last, told = event.ID, ""
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return nil
		}
	}
}

// eventLine is an event for people.
func (e *env) eventLine(event core.Event) error {
	return e.lines([]string{fmt.Sprintf("%s  %-16s  %s", event.At.Local().Format(time.DateTime), event.Type, event.Sentence)})
}

// eventJSON is an event for programs, one a line.
func (e *env) eventJSON(event core.Event) error {
	line, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("%w: %w", errCantTell, err)
	}
	return e.write(append(printableJSON(line), '\n'))
}
