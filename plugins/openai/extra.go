package openai

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

// absentFor is how long a server that turned out not to have an extra isn't
// asked for it: LM Studio, for one, logs each such request as an error.
const absentFor = 10 * time.Minute

// An extra is a GET that only some servers answer.
type extra struct {
	path string
	key  string // what the answer has that is meant, an object

	absent atomic.Pointer[time.Time] // when the server last turned out not to have it
}

// ask returns the answer, and whether there is one. That a server doesn't
// know the path, guards it, or answers something else, as LM Studio does with
// status 200, says nothing against it. The error is a [*core.Fault], and means
// that there was no answer of any kind.
func (e *extra) ask(ctx context.Context, t *target.Target) (answer gjson.Result, ok bool, err error) {
	if absent := e.absent.Load(); absent != nil && time.Since(*absent) < absentFor {
		return answer, false, nil
	}
	body, err := t.Get(ctx, e.path, maxAnswer, nil)
	if err != nil {
		reason := core.FaultOf(err).Reason
		if silent(reason) {
			return answer, false, err
		}
		if !passing(reason) {
			e.note()
		}
		return answer, false, nil
	}
	if body = target.Clean(body); json.Valid(body) {
		answer = gjson.ParseBytes(body)
		if value, _ := target.Member(answer, e.key); value.Exists() {
			return answer, true, nil
		}
	}
	e.note()
	return answer, false, nil
}

func (e *extra) note() {
	now := time.Now()
	e.absent.Store(&now)
}

// silent reports whether nothing, or nothing whole, was answered.
func silent(r core.Reason) bool {
	switch r {
	case core.ReasonRefused, core.ReasonTimeout, core.ReasonReset, core.ReasonNoRoute,
		core.ReasonDNS, core.ReasonTLS, core.ReasonTruncated, core.ReasonUnknown:
		return true
	}
	return false
}

// passing reports whether the answer may be another one soon: llama.cpp says
// 503 to all while it loads its model.
func passing(r core.Reason) bool {
	return strings.HasPrefix(string(r), "status_5") || r == core.StatusReason(408) || r == core.StatusReason(429)
}
