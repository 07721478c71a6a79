package sim

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

type showResponse struct {
	Modelfile    string         `json:"modelfile"`
	Parameters   string         `json:"parameters"`
	Template     string         `json:"template"`
	Details      details        `json:"details"`
	ModelInfo    map[string]any `json:"model_info"`
	Tensors      []any          `json:"tensors"`
	Capabilities []string       `json:"capabilities"`
	ModifiedAt   time.Time      `json:"modified_at"`
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	var req struct{ Model, Name string }
	if err := decode(w, r, &req); err != nil {
		writeDecodeError(w, err)
		return
	}
	name := cmp.Or(req.Model, req.Name)
	m, ok := s.find(name)
	if !ok {
		switch _, err := core.ParseModelName(name); {
		case name == "":
			writeError(w, http.StatusBadRequest, "model is required")
		case err != nil:
			writeError(w, http.StatusInternalServerError, "%s", unqualified(name))
		default:
			writeError(w, http.StatusNotFound, "model '%s' not found", name)
		}
		return
	}
	capability := "completion"
	if m.Embedding {
		capability = "embedding"
	}
	writeJSON(w, http.StatusOK, showResponse{
		Modelfile:  fmt.Sprintf("# Modelfile of a simulated model\nFROM %s\nTEMPLATE {{ .Prompt }}\n", m.Name),
		Parameters: "temperature                    0",
		Template:   "{{ .Prompt }}",
		Details:    m.details(),
		ModelInfo: map[string]any{
			"general.architecture":         m.Family,
			m.Family + ".context_length":   m.Context,
			m.Family + ".embedding_length": embeddingLength,
		},
		Tensors:      []any{},
		Capabilities: []string{capability},
		ModifiedAt:   m.ModifiedAt,
	})
}

// unqualified is Ollama's complaint about a name that isn't one.
func unqualified(name string) string {
	return fmt.Sprintf("unqualified name: registry.ollama.ai/library/%s:latest", cmp.Or(name, "!MISSING!"))
}
