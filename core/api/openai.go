package api

import (
	"net/http"
	"strings"
)

func (s *service) openAIModels(w http.ResponseWriter, r *http.Request) error {
	snapshot, err := s.listed(r)
	if err != nil {
		return err
	}
	return writeList(w, r, openAIType, snapshot.Inventory.OpenAI, snapshot.InventoryAt, snapshot)
}

// openAIModel answers for one model under the id that the caller wrote, which
// may have slashes in it, encoded or not.
func (s *service) openAIModel(w http.ResponseWriter, r *http.Request) error {
	id := strings.TrimPrefix(r.URL.Path, modelPrefix)
	if _, err := s.listed(r); err != nil {
		return err
	}
	model, err := s.admission.find(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, openAIType, model.OpenAI(id))
}
