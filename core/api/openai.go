package api

import (
	"fmt"
	"net/http"
	"strings"

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
	if !ok && snapshot.Status == core.Healthy {
		snapshot = s.inventory.Recheck(r.Context())
		model, ok = find(snapshot, id)
	}
	if !ok {
		return &httpError{status: http.StatusNotFound, message: NotFound(id, snapshot.Inventory.Near(id))}
	}
	return writeJSON(w, openAIType, model.OpenAI(id))
}

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
