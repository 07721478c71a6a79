package core

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// A Backend knows how to look at one kind of target. foreman runs it as a
// plugin process of its own; core/plugin carries this interface over gRPC,
// and core/plugin/plugintest checks any implementation.
//
// Configure comes first and once; the others may then run concurrently. Every
// method returns soon after its context ends. An error about the target is a
// [*Fault].
type Backend interface {
	// Configure tells the backend where its target is. It doesn't contact it:
	// a target may sleep while foreman starts. Its error is about settings.
	Configure(ctx context.Context, settings Settings) (Upstream, error)

	// Probe asks the target for the cheapest sign of life that it has, and
	// returns the version it states, or "".
	Probe(ctx context.Context) (version string, err error)

	// Models lists what is installed. known is the fingerprint of the list
	// that the caller holds, or "": if the list is still that one, the
	// backend may return ModelList{Fingerprint: known, Unchanged: true}.
	Models(ctx context.Context, known string) (ModelList, error)

	// Running lists what is resident, in the target's order.
	Running(ctx context.Context) ([]Resident, error)
}

// Settings are what a backend needs to know.
type Settings struct {
	URL   string          // the target's base URL; "" lets the backend choose
	Token string          // sent to the target, never logged
	Extra json.RawMessage // the plugin's own settings table as a JSON object; nil if there is none
}

// An Upstream is where inference requests go, past the plugin.
type Upstream struct {
	URL    string      // base URL without a trailing slash
	Header http.Header // to set on each request, such as Authorization

	// V1Only says that the target knows the routes below /v1 and none of
	// Ollama's own: those that would have to reach it are answered 501.
	V1Only bool
}

// A ModelList is one answer to [Backend.Models].
type ModelList struct {
	// Fingerprint identifies the list whatever its order. It means something
	// only to the backend that made it, and "" to nobody.
	Fingerprint string
	Unchanged   bool // Models is left out, being what the caller holds
	Models      []Model
}

// ErrUndeliverable is what an error of [Notifier.Notify] wraps if sending the
// event again wouldn't help: it is dropped, and told in /healthz.
var ErrUndeliverable = errors.New("undeliverable")

// A Notifier tells people, or their programs, what happened. foreman runs one
// process for each table [notify.NAME] of its config; core/plugin carries
// this interface over gRPC, and core/plugin/plugintest checks any
// implementation.
//
// Configure comes first and once. foreman then sends one event at a time, in
// order. Every method returns soon after its context ends.
type Notifier interface {
	// Configure hands over the settings: a JSON object, "{}" if there are
	// none. Its error is a sentence about them for the user.
	Configure(ctx context.Context, settings json.RawMessage) error

	// Notify returns once the event has arrived. After an error it is sent
	// again, later, with the same ID, unless that is an [ErrUndeliverable];
	// an event may arrive twice.
	Notify(ctx context.Context, event Event) error
}
