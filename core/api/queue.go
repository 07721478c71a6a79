package api

import (
	"net/http"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Queue is the body of GET /queue: what the target does and will do, if
// nothing else comes. Of the jobs of one model and priority only the first few
// are in it; Jobs counts all.
type Queue struct {
	Model     string                `json:"model"`      // whose turn it is, "" if none's
	Loading   bool                  `json:"loading"`    // the target has work for that model and doesn't list it as resident yet
	IdleUntil *time.Time            `json:"idle_until"` // the target idles for the next request for that model; null if it doesn't
	Resident  core.Names            `json:"resident"`   // as last seen
	Running   []QueueEntry          `json:"running"`    // in the order of their start
	Waiting   []QueueEntry          `json:"waiting"`    // in the order to come
	Swaps     int                   `json:"swaps"`      // models to be loaded until all of it has run
	Jobs      map[core.JobState]int `json:"jobs"`       // null where none are kept
}

// A QueueEntry is a caller's request, or a job.
type QueueEntry struct {
	Model     string        `json:"model"`
	Job       string        `json:"job"`    // its ID; "" of a caller on the line
	Caller    string        `json:"caller"` // the name of the caller's token; "" if none was needed
	Priority  core.Priority `json:"priority"`
	ArrivedAt time.Time     `json:"arrived_at"`
}

func (s *service) queue(w http.ResponseWriter, r *http.Request) error {
	if s.deps.Queue == nil {
		return errorf(http.StatusNotFound, "nothing queues at this foreman")
	}
	board := s.deps.Queue()
	board.Running = append([]QueueEntry{}, board.Running...) // never null
	board.Waiting = append([]QueueEntry{}, board.Waiting...)
	board.Resident = nil
	residency := s.inventory.Snapshot().Residency
	if residency != nil {
		for _, model := range residency.Models {
			board.Resident = append(board.Resident, model.Name)
		}
	}
	board.Loading = board.Model != "" && len(board.Running) > 0 && !residency.Has(core.NameOf(board.Model))
	if s.deps.Jobs != nil {
		counts, err := s.deps.Jobs.Counts(r.Context())
		if err != nil {
			return err
		}
		board.Jobs = counts
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, jsonType, board)
}
