package core

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// JobState is where a job is.
//
//	queued ──its turn──► loading ──first byte──► working ──► done | failed
//	   ▲                    │                       │
//	   └──target away, or an error with attempts left┘     cancelled, from each of the first three
type JobState string

// The states of a job.
const (
	JobQueued    JobState = "queued"
	JobLoading   JobState = "loading" // the target has it and hasn't answered yet
	JobWorking   JobState = "working"
	JobDone      JobState = "done"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

// JobStates are all of them, in the order of a job's life.
func JobStates() []JobState {
	return []JobState{JobQueued, JobLoading, JobWorking, JobDone, JobFailed, JobCancelled}
}

// Ended reports whether the job stays as it is, unless somebody retries it,
// until it is forgotten.
func (s JobState) Ended() bool { return s == JobDone || s == JobFailed || s == JobCancelled }

// A Priority orders the work of one model and weighs in the choice of the
// next model.
type Priority int8

// The levels.
const (
	PriorityLow    Priority = -1
	PriorityNormal Priority = 0
	PriorityHigh   Priority = 1
)

var priorityNames = []string{"low", "normal", "high"}

func (p Priority) String() string { return priorityNames[p-PriorityLow] }

// MarshalText writes the level's name.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads low, normal or high.
func (p *Priority) UnmarshalText(text []byte) error {
	i := slices.Index(priorityNames, string(text))
	if i < 0 {
		return fmt.Errorf("priority is %q: want low, normal or high", text)
	}
	*p = PriorityLow + Priority(i)
	return nil
}

// A Job is work that foreman keeps until the target has done it. Times are in
// UTC, and null in JSON until there is one.
type Job struct {
	ID       string   `json:"id"` // a ULID
	State    JobState `json:"state"`
	Model    string   `json:"model"` // as the caller wrote it
	Path     string   `json:"path"`  // the target's route, such as /api/chat
	Priority Priority `json:"priority"`
	Caller   string   `json:"caller"` // the name of the caller's token; "" if none was needed

	CreatedAt time.Time  `json:"created_at"`
	NotBefore *time.Time `json:"not_before"` // of a queued job that waits for its next attempt
	StartedAt *time.Time `json:"started_at"` // of the last attempt
	EndedAt   *time.Time `json:"ended_at"`
	ExpiresAt *time.Time `json:"expires_at"` // when a job that hasn't started fails

	Attempt  int       `json:"attempt"`  // those that count against jobs.max_attempts, the present one too
	Attempts []Attempt `json:"attempts"` // all that have ended, the oldest first; the last hundred
	Error    string    `json:"error"`    // why it failed, or why the last attempt did; one line
	Status   int       `json:"status"`   // HTTP status of the result; 0 while there is none

	Position *int `json:"position"` // of a queued job, 1 for the next; null otherwise

	Webhook        string `json:"webhook,omitempty"`         // where changes of state are told
	IdempotencyKey string `json:"idempotency_key,omitempty"` // a second submit of the same is the first
}

// An Attempt at a job that has ended.
type Attempt struct {
	At      time.Time `json:"at"`
	EndedAt time.Time `json:"ended_at"`
	Reason  Reason    `json:"reason"` // why it failed, "" if it didn't
	Error   string    `json:"error"`
	Counts  bool      `json:"counts"` // against jobs.max_attempts: an unreachable target doesn't
}

// A JobResult is what the target answered, byte for byte.
type JobResult struct {
	Status      int
	ContentType string
	Body        []byte
}

var (
	// ErrNoJob says that there is no job of that ID, or no more.
	ErrNoJob = errors.New("no such job")

	// ErrJobConflict says that the job isn't in a state that allows what was
	// asked, or that its idempotency key came with another request before.
	ErrJobConflict = errors.New("the job doesn't allow that")

	// ErrJobsFull says that as many jobs wait as may.
	ErrJobsFull = errors.New("as many jobs wait as may")

	// ErrDiskFull says that there is no room on the disk to keep a job.
	ErrDiskFull = errors.New("the disk is full")

	// ErrNoWebhooks is for a job with a webhook where there are none.
	ErrNoWebhooks = errors.New("webhooks of jobs are off")

	// ErrPlainWebhook is for a job with a webhook that isn't https where that
	// must be.
	ErrPlainWebhook = errors.New("the webhook must be https")
)

// WebhookField is where, in the data of an event for a job's webhook, the
// webhook's URL stands. Nobody but foreman's own notifier for those gets it.
const WebhookField = "webhook"

// A JobRequest is what somebody wants done.
type JobRequest struct {
	Path           string
	Model          string // that the body names
	Body           []byte // JSON, byte for byte what the target gets
	Priority       Priority
	Caller         string
	Webhook        string     // "" for none
	IdempotencyKey string     // "" for none
	ExpiresAt      *time.Time // nil for never
}

// ParseExpiry is the time that text means: a time to come in RFC 3339, or how
// long from now, such as 90m; nil for "". Its error is a sentence without the
// name of whatever held text.
func ParseExpiry(text string, now time.Time) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if wait, no := time.ParseDuration(text); no == nil {
		at, err = now.Add(wait), nil
	}
	if err != nil || !at.After(now) {
		return nil, fmt.Errorf("%q: want a time to come, such as 2027-01-31T18:00:00Z, or how long from now, such as 90m", text)
	}
	return &at, nil
}

// A JobQuery says which jobs to list.
type JobQuery struct {
	State  JobState // "" for every one
	Model  string   // as [NameOf] reads it; "" for every one
	Cursor string   // where the page before ended
	Limit  int      // of a page; at least 1
}

// JobNews is the next thing to know of a job.
type JobNews struct {
	Job *Job // what it is now; nil if there is a chunk instead

	Chunk  []byte // of the target's answer; not to be changed
	Offset int64  // where in the answer it begins: from 0 again in each attempt
}
