package jobs

import (
	"errors"
	"sync"

	"github.com/seed-af7fee88/foreman/core"
)

// maxResult bounds what is kept of an answer.
const maxResult = 64 << 20

var errTooLarge = errors.New("the answer is over 64 MiB, which is more than is kept of one")

// topics are the jobs that somebody follows, or that run here.
type topics struct {
	mu   sync.Mutex
	byID map[string]*topic
}

// A topic is what its followers wait for: a change of the job's state, and
// what the target has answered so far, which is held once however many follow.
type topic struct {
	users int // guarded by topics.mu

	mu      sync.Mutex
	news    chan struct{} // closes when any of the rest changes
	changes int           // of the job's state
	attempt int           // that answer is from, as counted here
	answer  core.JobResult
	full    bool // answer is cut short
}

// follow makes the caller a user of the job's topic, until leave.
func (t *topics) follow(id string) *topic {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.byID[id]
	if found == nil {
		found = &topic{news: make(chan struct{})}
		t.byID[id] = found
	}
	found.users++
	return found
}

func (t *topics) leave(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[id].users--; t.byID[id].users == 0 {
		delete(t.byID, id)
	}
}

// changed says that the job is in another state.
func (t *topics) changed(id string) {
	t.mu.Lock()
	found := t.byID[id]
	t.mu.Unlock()
	if found != nil {
		found.publish(func() { found.changes++ })
	}
}

// allChanged says that any job may be in another state.
func (t *topics) allChanged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, found := range t.byID {
		found.publish(func() { found.changes++ })
	}
}

func (t *topic) publish(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.news)
	t.news = make(chan struct{})
}

// A glance is what a topic shows at a moment.
type glance struct {
	news             <-chan struct{}
	changes, attempt int
	rest             []byte // of the answer; never written to
}

// look shows the answer from offset on.
func (t *topic) look(offset int) glance {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.answer.Body)
	return glance{t.news, t.changes, t.attempt, t.answer.Body[min(offset, n):n:n]}
}

// begin forgets the answer to the attempt before.
func (t *topic) begin() {
	t.publish(func() { t.attempt, t.answer, t.full = t.attempt+1, core.JobResult{}, false })
}

// answered is what the target said, and whether it said more.
func (t *topic) answered() (core.JobResult, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answer, t.full
}

// sink writes an answer to its topic.
type sink struct {
	*topic
	begun func() // called before the first byte is shown
}

func (s sink) Begin(status int, contentType string) {
	s.publish(func() { s.answer.Status, s.answer.ContentType = status, contentType })
	s.begun()
}

func (s sink) Write(chunk []byte) (int, error) {
	var err error
	s.publish(func() {
		if len(s.answer.Body)+len(chunk) > maxResult {
			s.full, err = true, errTooLarge
			return
		}
		s.answer.Body = append(s.answer.Body, chunk...)
	})
	if err != nil {
		return 0, err
	}
	return len(chunk), nil
}
