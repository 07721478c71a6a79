package core

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
)

// An EventType says in one word what happened. Programs branch on it; it is
// part of GET /events and of what notifiers get.
type EventType string

// The events, each with the type of its Data.
const (
	EventDegraded        EventType = "degraded"         // [DegradedData]
	EventRecovered       EventType = "recovered"        // [RecoveredData]
	EventTargetChanged   EventType = "target_changed"   // [TargetChangedData]: another version, or another target
	EventModelAdded      EventType = "model_added"      // [ModelData]
	EventModelRemoved    EventType = "model_removed"    // [ModelData]
	EventModelChanged    EventType = "model_changed"    // [ModelData]: another digest under the same name
	EventResidentChanged EventType = "resident_changed" // [ResidentData]
	EventModelMissing    EventType = "model_missing"    // [MissingData]: a caller asked for what isn't installed
	EventPluginRestarted EventType = "plugin_restarted" // [PluginData]
	EventConfigReloaded  EventType = "config_reloaded"  // [ConfigReloadedData]
	EventConfigRejected  EventType = "config_rejected"  // [ConfigRejectedData]
	EventJobQueued       EventType = "job_queued"       // [JobData], as are those that follow: submitted, put back or retried
	EventJobLoading      EventType = "job_loading"
	EventJobWorking      EventType = "job_working"
	EventJobDone         EventType = "job_done"
	EventJobFailed       EventType = "job_failed"
	EventJobCancelled    EventType = "job_cancelled"
	EventTest            EventType = "test" // an empty object: foreman notify test
)

// EventTypes are all of them, in the order of the constants.
func EventTypes() []EventType {
	return []EventType{
		EventDegraded, EventRecovered, EventTargetChanged, EventModelAdded, EventModelRemoved, EventModelChanged,
		EventResidentChanged, EventModelMissing, EventPluginRestarted, EventConfigReloaded, EventConfigRejected,
		EventJobQueued, EventJobLoading, EventJobWorking, EventJobDone, EventJobFailed, EventJobCancelled, EventTest,
	}
}

// Matches reports whether one of the patterns, as of [path.Match], is one of
// t. What is no pattern matches nothing.
func (t EventType) Matches(patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, string(t))
		return ok
	})
}

// An Event is something that happened, once. Its JSON is the same wherever it
// is told: event.schema.json describes it.
type Event struct {
	ID       string          `json:"id"` // a ULID: later events have greater ones
	Type     EventType       `json:"type"`
	At       time.Time       `json:"at"`
	Target   string          `json:"target"`   // the target's URL; "" where it isn't known
	Sentence string          `json:"sentence"` // for a person; one line of at most 2 KiB, without a secret
	Data     json.RawMessage `json:"data"`     // an object, by Type
}

// NewEvent is an event that has no ID yet. data is one of the Data types, or
// nil for an empty object. What would break the sentence's line becomes a
// space, and what is too long is cut: targets and callers word parts of it.
func NewEvent(kind EventType, at time.Time, target, sentence string, data any) Event {
	raw := []byte("{}")
	if data != nil {
		var err error
		if raw, err = json.Marshal(bounded(data)); err != nil {
			panic(err) // the types below always have JSON
		}
	}
	return Event{
		Type: kind, At: eventTime(at), Target: shorten(target, longestText),
		Sentence: strings.Map(plain, shorten(sentence, longestSentence)), Data: raw,
	}
}

// eventTime is t as events tell times.
func eventTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func plain(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}

// DegradedData says why the target counts as away.
type DegradedData struct {
	Reason      Reason     `json:"reason"`
	Error       string     `json:"error"`
	Failures    int        `json:"failures"`     // looks that failed in a row
	LastSuccess *time.Time `json:"last_success"` // null if there was none in this run
}

// RecoveredData says how long the target was away.
type RecoveredData struct {
	DegradedAt      time.Time `json:"degraded_at"`
	DegradedSeconds float64   `json:"degraded_seconds"`
}

// TargetChangedData has both sides of the change.
type TargetChangedData struct {
	Was TargetIdentity `json:"was"`
	Now TargetIdentity `json:"now"`
}

// A TargetIdentity is what makes a target another one.
type TargetIdentity struct {
	Backend string `json:"backend"`
	URL     string `json:"url"`
	Version string `json:"version"` // "" if it states none
}

// ModelData is an installed model, or one that was.
type ModelData struct {
	Model     string `json:"model"`
	Digest    string `json:"digest"`     // "" where the target states none
	WasDigest string `json:"was_digest"` // of model_changed alone, else ""
	Size      int64  `json:"size"`       // bytes
}

// Names are in JSON a list, even if they are nil.
type Names []string

// MarshalJSON writes [] for nil.
func (n Names) MarshalJSON() ([]byte, error) {
	if n == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]string(n))
}

// ResidentData is what is loaded now, and what that is different from before:
// of each the first hundred names.
type ResidentData struct {
	Resident Names `json:"resident"`
	Loaded   Names `json:"loaded"`
	Unloaded Names `json:"unloaded"`
}

// MissingData is a request for a model that isn't installed.
type MissingData struct {
	Model  string `json:"model"`
	Caller string `json:"caller"` // the name of the caller's token; "" if none was needed
	Route  string `json:"route"`  // such as /api/chat
	Near   Names  `json:"near"`   // installed models that may have been meant
}

// PluginData is a plugin that was started again.
type PluginData struct {
	Plugin   string `json:"plugin"`
	Kind     string `json:"kind"`
	Restarts int    `json:"restarts"` // so far
	Error    string `json:"error"`    // why it had ended
}

// ConfigReloadedData says what is in force since.
type ConfigReloadedData struct {
	File         string `json:"file"`
	Changed      Names  `json:"changed"`       // keys, such as poll.interval
	NeedsRestart Names  `json:"needs_restart"` // those that count from the next start on
}

// ConfigRejectedData is what is wrong with a file.
type ConfigRejectedData struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // 0 if it isn't about a line
	Key     string `json:"key"`
	Problem string `json:"problem"`
}

// JobData is a job whose state has changed: what [Job] says, in part.
type JobData struct {
	JobID     string     `json:"job_id"`
	State     JobState   `json:"state"`
	Model     string     `json:"model"`
	Path      string     `json:"path"`
	Caller    string     `json:"caller"`
	Attempt   int        `json:"attempt"`
	Status    int        `json:"status"`
	Error     string     `json:"error"`
	CreatedAt time.Time  `json:"created_at"`
	NotBefore *time.Time `json:"not_before"`
	EndedAt   *time.Time `json:"ended_at"`
}

// NewJobEvent is an event, without an ID, that says in which state job is
// since at.
func NewJobEvent(job Job, at time.Time, target string) Event {
	data := JobData{
		JobID: job.ID, State: job.State, Model: job.Model, Path: job.Path, Caller: job.Caller,
		Attempt: job.Attempt, Status: job.Status, Error: job.Error,
		CreatedAt: job.CreatedAt, NotBefore: job.NotBefore, EndedAt: job.EndedAt,
	}
	return NewEvent(EventType("job_"+job.State), at, target, data.sentence(), data)
}

func (d JobData) sentence() string {
	job := fmt.Sprintf("job %s for %s", d.JobID, ShortName(d.Model))
	sentence := fmt.Sprintf("%s is %s", job, d.State)
	switch {
	case d.State == JobFailed:
		sentence = job + " has failed"
	case d.State == JobCancelled:
		sentence = job + " was cancelled"
	case d.State == JobQueued && d.Error != "":
		sentence = job + " is queued again"
	}
	if d.Error != "" && d.State != JobDone && d.State != JobCancelled {
		sentence += ": " + d.Error
	}
	return sentence
}
