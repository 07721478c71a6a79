package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

func (s *Server) openAIModels(w http.ResponseWriter, r *http.Request) error {
	snapshot, err := s.listed(r)
	if err != nil {
		return err
	}
	return writeList(w, r, openAIType, snapshot.Inventory.OpenAI, snapshot.InventoryAt, snapshot)
}

// openAIModel answers for one model under the id that the caller wrote, which
// may have slashes in it, encoded or not.
func (s *Server) openAIModel(w http.ResponseWriter, r *http.Request) error {
	id := strings.TrimPrefix(r.URL.Path, modelPrefix)
	snapshot, err := s.listed(r)
	if err != nil {
		return err
	}
	model, ok := find(snapshot, id)
	if !ok && snapshot.Status != core.Degraded {
		snapshot = s.inventory.Recheck(r.Context())
		model, ok = find(snapshot, id)
	}
	switch {
	case ok:
		return writeJSON(w, openAIType, model.OpenAI(id))
	case snapshot.Status != core.Healthy && time.Since(snapshot.InventoryAt) > noLasts:
		return away(snapshot)
	default:
		return errorf(http.StatusNotFound, "%s", NotFound(id, snapshot.Inventory.Near(id)))
	}
}

// noLasts is how long the inventory of a target that is away is good for
// saying that a model isn't there.
const noLasts = time.Minute

func find(snapshot *core.Snapshot, id string) (core.Model, bool) {
	name, err := core.ParseModelName(id)
	if err != nil {
		return core.Model{}, false
	}
	return snapshot.Inventory.Find(name)
}

// NotFound is Ollama's own sentence about a missing model, and the names that
// may have been meant.
func NotFound(name string, near []string) string {
	sentence := fmt.Sprintf("model '%s' not found", name)
	if len(near) == 0 {
		return sentence
	}
	return sentence + "; did you mean '" + strings.Join(near, "', '") + "'?"
}
