package core

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable is returned at once by a plugin's slot while no process
	// serves it.
	ErrUnavailable = errors.New("the plugin is not running")

	// ErrNoAnswer is returned by a call that the plugin itself didn't answer
	// by its deadline, whatever its target does.
	ErrNoAnswer = errors.New("the plugin didn't answer in time")
)

// A Reason says in one word what was wrong with a target's answer, or why
// there was none. Programs branch on it; it is part of /healthz.
type Reason string

// The reasons. A status other than 200 has [StatusReason].
const (
	ReasonRefused     Reason = "refused"      // nothing listens there
	ReasonTimeout     Reason = "timeout"      // connected or not, no whole answer in time
	ReasonReset       Reason = "reset"        // the connection broke before an answer
	ReasonNoRoute     Reason = "no_route"     // network or host unreachable
	ReasonDNS         Reason = "dns"          // the name doesn't resolve
	ReasonTLS         Reason = "tls"          // certificate or handshake
	ReasonRedirect    Reason = "redirect"     // 3xx: never followed
	ReasonNotJSON     Reason = "not_json"     // 200 with something else, or trailing bytes
	ReasonNoModels    Reason = "no_models"    // JSON without an array `models`
	ReasonBadModel    Reason = "bad_model"    // an entry of `models` has the wrong type
	ReasonTruncated   Reason = "truncated"    // the body ended early
	ReasonTooLarge    Reason = "too_large"    // the body is over the cap, once inflated
	ReasonWrongTarget Reason = "wrong_target" // answers, but isn't what the backend speaks to
	ReasonPlugin      Reason = "plugin"       // the plugin is down, hung or broke the protocol
	ReasonUnknown     Reason = "unknown"
)

// StatusReason is the reason for an answer with that HTTP status.
func StatusReason(code int) Reason { return Reason(fmt.Sprintf("status_%d", code)) }

// A Fault is a failed look at the target: the reason for programs, the detail
// for people. It keeps its identity across the plugin wire.
type Fault struct {
	Reason Reason
	Detail string // one line, no secret, says what was asked of whom
}

func (f *Fault) Error() string { return f.Detail }

// FaultOf is err as a Fault. What isn't one already has [ReasonPlugin] if
// the plugin is down or hangs, else [ReasonUnknown].
func FaultOf(err error) *Fault {
	var f *Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNoAnswer):
		return &Fault{Reason: ReasonPlugin, Detail: err.Error()}
	default:
		return &Fault{Reason: ReasonUnknown, Detail: err.Error()}
	}
}
