package jobs

import "github.com/seed-af7fee88/foreman/core"

// heads are the jobs that wait for their turn in this foreman, as of the last
// look at the store. Once it is published it is immutable.
type heads struct {
	limit int
	lanes map[lane]int
	ids   map[string]bool
}

// A lane is what the store lists the oldest jobs of.
type lane struct {
	model    core.ModelName
	priority core.Priority
}

func newHeads(limit int) *heads {
	return &heads{limit: limit, lanes: map[lane]int{}, ids: map[string]bool{}}
}

func (h *heads) add(job core.Job) {
	h.lanes[lane{core.NameOf(job.Model), job.Priority}]++
	h.ids[job.ID] = true
}

func (h *heads) has(id string) bool { return h.ids[id] }

// suffice reports whether one more job like job wouldn't be a head. It will be
// seen in time: each head has the store looked at once more when it is gone.
func (h *heads) suffice(job core.Job) bool {
	return h.lanes[lane{core.NameOf(job.Model), job.Priority}] >= h.limit
}
