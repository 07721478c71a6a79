package jobs

import (
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Followed is how many jobs somebody follows, or run here.
func (j *Jobs) Followed() int {
	j.topics.mu.Lock()
	defer j.topics.mu.Unlock()
	return len(j.topics.byID)
}

// JudgeBreak is what becomes of a job whose attempt broke though the target
// lives, if foreman's machine slept meanwhile.
func JudgeBreak(job core.Job, opts *Options, err error, slept time.Duration) (core.JobState, core.Attempt, bool) {
	v := judge(job, opts, outcome{err: err, lives: true, slept: slept, now: time.Now()})
	return v.state, v.attempt, v.away
}
