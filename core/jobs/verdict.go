package jobs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
)

// Why an attempt ended that neither the target nor the plugin ended.
const (
	reasonCancelled core.Reason = "cancelled"
	reasonStopped   core.Reason = "stopped" // foreman was
	reasonMissing   core.Reason = "missing" // the model is
	reasonOverran   core.Reason = "overran" // it did, by jobs.max_run
	reasonSlept     core.Reason = "slept"   // foreman's machine did
)

const (
	patientTries = 3   // at an away target, a second apart: it may be back
	mostDeaths   = 10  // of the target, an attempt each: the job may be what ends it
	maxReason    = 500 // bytes of the target's words

	// leastSleep is how long foreman's machine must have slept in an attempt for
	// a break to be its own fault: less may be a correction of the clock.
	leastSleep = 5 * time.Second
)

// An outcome is how an attempt went, as far as the target told.
type outcome struct {
	err    error          // of Do
	answer core.JobResult // Status is 0 if the target never began
	full   bool           // the answer is too large
	missed error          // of Deps.Find, after a 404
	found  bool           // by Deps.Find, after a 404
	lives  bool           // the target did when it was asked, after an err that is doubtful
	began  time.Time      // the attempt
	now    time.Time      // its end
	slept  time.Duration  // foreman's machine, in between

	earliest time.Time // moment of an outage that may be held against the job
}

// A verdict is what becomes of the job.
type verdict struct {
	attempt   core.Attempt
	state     core.JobState // queued: it is put back
	reason    string        // of a failed job
	notBefore time.Time     // of a queued one
	result    *core.JobResult
	away      bool // the target is
	faulty    bool // the target had an error
}

// doubtful reports whether only a sign of life can tell an error of the target
// from a target that is away.
func (o outcome) doubtful() bool {
	if o.err == nil || o.full {
		return false
	}
	return !neverThere(core.FaultOf(o.err).Reason) && !o.redirected()
}

// neverThere reports whether a reason says that the job didn't get to the
// target.
func neverThere(r core.Reason) bool {
	switch r {
	case core.ReasonRefused, core.ReasonNoRoute, core.ReasonDNS, core.ReasonPlugin:
		return true
	default:
		return false
	}
}

func (o outcome) redirected() bool {
	return o.answer.Status == 0 && core.FaultOf(o.err).Reason == core.ReasonRedirect
}

// judge applies the rules: an unreachable target doesn't count, for as long as
// max_age, also if it went away in the middle of its answer; an error of the
// target counts, up to max_attempts, unless foreman's machine slept meanwhile;
// what the target refuses fails at once.
func judge(job core.Job, opts *Options, o outcome) verdict {
	switch status := o.answer.Status; {
	case o.full:
		return o.failed(core.ReasonTooLarge, errTooLarge.Error(), nil)
	case o.err != nil && o.lives && o.slept >= leastSleep:
		return o.asleep()
	case o.err != nil && (o.lives || o.redirected()):
		fault := o.fault()
		return o.again(job, opts, fault.Reason, fault.Detail, nil)
	case o.err != nil:
		return judgeAway(job, opts, o)
	case status/100 == 2:
		if said := brokenOff(o.answer.Body); said != "" {
			return o.again(job, opts, core.ReasonTruncated, "the target broke off: "+said, &o.answer)
		}
		return verdict{attempt: o.attempt("", "", true), state: core.JobDone, result: &o.answer}
	case status == http.StatusNotFound && errors.Is(o.missed, core.ErrNotInstalled):
		return o.failed(reasonMissing, o.missed.Error(), &o.answer)
	case status == http.StatusNotFound && o.missed != nil:
		return judgeAway(job, opts, o)
	case status >= 500, status == http.StatusTooManyRequests, o.found:
		return o.again(job, opts, core.StatusReason(status), o.refusal(), &o.answer)
	default:
		return o.failed(core.StatusReason(status), o.refusal(), &o.answer)
	}
}

// fault is why there is no whole answer, or nobody can say whether the model
// of a 404 is there.
func (o outcome) fault() core.Fault {
	fault := *core.FaultOf(cmp.Or(o.err, o.missed))
	if o.err != nil && o.answer.Status != 0 {
		fault.Detail = "the target broke off: " + fault.Detail
	}
	return fault
}

func judgeAway(job core.Job, opts *Options, o outcome) verdict {
	fault := o.fault()
	v := verdict{attempt: o.attempt(fault.Reason, fault.Detail, false), state: core.JobQueued, away: o.missed == nil}
	since := awaySince(job, o.now.Round(0), o.earliest)
	if unreachable(fault.Reason) && o.now.Round(0).Sub(since) >= opts.MaxAge {
		v.state, v.reason = core.JobFailed, outwaited(opts, fault.Detail)
		return v
	}
	if n := deaths(job) + 1; isDeath(fault.Reason) && n >= mostDeaths {
		v.state, v.reason = core.JobFailed, fmt.Sprintf("the target ended in each of %d attempts: %s", n, fault.Detail)
		return v
	}
	v.notBefore = o.now.Add(pause(max(0, awayTries(job)-patientTries)))
	return v
}

// deaths is how many attempts job ends with in which the target ended, those
// aside that didn't get that far.
func deaths(job core.Job) (n int) {
	for i := len(job.Attempts) - 1; i >= 0 && !job.Attempts[i].Counts; i-- {
		if isDeath(job.Attempts[i].Reason) {
			n++
		}
	}
	return n
}

// isDeath reports whether a target that was there and isn't any more has ended,
// rather than fallen asleep, which says nothing.
func isDeath(r core.Reason) bool { return r == core.ReasonReset || r == core.ReasonTruncated }

// asleep puts a job back whose connection foreman's own machine lost in its
// sleep: the target is there, and didn't fail.
func (o outcome) asleep() verdict {
	problem := fmt.Sprintf("foreman's machine slept for %s: %s", o.slept.Round(time.Second), o.fault().Detail)
	return verdict{attempt: o.attempt(reasonSlept, problem, false), state: core.JobQueued, notBefore: o.now.Add(pause(0))}
}

// awayTries is how many attempts without an answer job ends with, those aside
// that foreman's stop cut off.
func awayTries(job core.Job) (tries int) {
	for i := len(job.Attempts) - 1; i >= 0 && !job.Attempts[i].Counts; i-- {
		if job.Attempts[i].Reason != reasonStopped {
			tries++
		}
	}
	return tries
}

// again puts the job back, unless that was its last attempt.
func (o outcome) again(job core.Job, opts *Options, reason core.Reason, sentence string, result *core.JobResult) verdict {
	if job.Attempt >= opts.MaxAttempts {
		v := o.failed(reason, sentence, result)
		v.faulty = true
		return v
	}
	return verdict{
		attempt: o.attempt(reason, sentence, true), state: core.JobQueued, faulty: true,
		notBefore: o.now.Add(pause(job.Attempt - 1)),
	}
}

func (o outcome) failed(reason core.Reason, sentence string, result *core.JobResult) verdict {
	return verdict{attempt: o.attempt(reason, sentence, true), state: core.JobFailed, reason: sentence, result: result}
}

func (o outcome) attempt(reason core.Reason, problem string, counts bool) core.Attempt {
	return core.Attempt{At: o.began.UTC(), EndedAt: o.now.UTC(), Reason: reason, Error: problem, Counts: counts}
}

// refusal is the target's answer as one line.
func (o outcome) refusal() string {
	sentence := fmt.Sprintf("the target answered %d", o.answer.Status)
	if said := errorIn(o.answer.Body); said != "" {
		sentence += ": " + said
	}
	return sentence
}

// pause is a second, doubled n times, up to a minute, and up to half of that
// less, so that jobs that failed together don't return together.
func pause(n int) time.Duration {
	most := min(leastPause<<min(n, 10), mostPause)
	return most - rand.N(most/2)
}

// brokenOff is the error that ends a stream whose status was 200 already: an
// object with an error as its last line, in Ollama's way or as an SSE event.
func brokenOff(body []byte) string {
	body = bytes.TrimRight(body, "\r\n ")
	last := body[bytes.LastIndexByte(body, '\n')+1:]
	return errorIn(bytes.TrimPrefix(last, []byte("data: ")))
}

// errorIn is the message of {"error": "…"} or {"error": {"message": "…"}}, as
// one line, or "".
func errorIn(body []byte) string {
	if !gjson.ValidBytes(body) {
		return ""
	}
	found := gjson.GetBytes(body, "error")
	if found.IsObject() {
		found = found.Get("message")
	}
	return core.OneLine(found.String(), maxReason)
}
