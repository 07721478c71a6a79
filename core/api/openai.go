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
	reply := snapshot.Inventory.OpenAI
	if s.speaksV1() {
		reply = snapshot.Inventory.V1()
	}
	return writeList(w, r, openAIType, reply, snapshot.InventoryAt, snapshot)
}

// speaksV1 reports whether the target's own entries of /v1/models are there to
// be passed on. While the plugin is away it is what that said last.
func (s *service) speaksV1() bool {
	if upstream, err := s.deps.Upstream(); err == nil && upstream.V1Only != s.v1Only.Load() {
		s.v1Only.Store(upstream.V1Only)
	}
	return s.v1Only.Load()
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
	if s.speaksV1() {
		return send(w, http.StatusOK, openAIType, model.V1(id))
	}
	return writeJSON(w, openAIType, model.OpenAI(id))
}
