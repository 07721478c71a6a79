// Package notify tells of events: on stderr, by webhook, by a command, and
// through chat, push and mail services by their URLs. [New] makes one of these
// notifiers, which foreman runs in a plugin process of its own.
//
// Whatever is wrong and might be mended by an edit of the config (an address,
// a password, a missing script) is an error after which foreman sends the
// event again. [core.ErrUndeliverable] is only what the receiver says of the
// event itself.
//
// No error holds a secret: of a URL it tells the scheme and the host, since
// all else in it may be one.
package notify

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/seed-af7fee88/foreman/core"
)

// New returns a notifier of the kind, one of log, webhook, command, service
// and callback, to be configured; false if there is no such kind.
func New(kind string) (core.Notifier, bool) {
	switch kind {
	case "log":
		return &stderrLog{out: os.Stderr}, true
	case "webhook":
		return new(webhook), true
	case "command":
		return new(command), true
	case "service":
		return new(service), true
	case "callback":
		return new(callback), true
	}
	return nil, false
}

// table is what the settings of every kind hold.
type table struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

// eventJSON is the event as GET /events tells it.
func eventJSON(event core.Event) ([]byte, error) {
	encoded, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("%w: encode the event: %w", core.ErrUndeliverable, err)
	}
	return encoded, nil
}

// maxLine is how much of somebody else's words an error quotes, in bytes.
const maxLine = 300

// oneLine is s for an error.
func oneLine(s string) string { return core.OneLine(s, maxLine) }
