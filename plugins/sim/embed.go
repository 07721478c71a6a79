package sim

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// embeddingLength is how many numbers every embedding has.
const embeddingLength = 256

// embedding is a unit vector that is always the same for the same text.
func embedding(text string) []float32 {
	h := fnv.New64a()
	io.WriteString(h, text)
	random := rand.New(rand.NewPCG(h.Sum64(), 0))
	vector := make([]float32, embeddingLength)
	var square float64
	for i := range vector {
		x := random.NormFloat64()
		vector[i] = float32(x)
		square += x * x
	}
	for i := range vector {
		vector[i] /= float32(math.Sqrt(square))
	}
	return vector
}

var errInputType = errors.New("invalid input type")

// embedInput reads a string or an array of strings; an empty string is none.
func embedInput(input any) ([]string, error) {
	switch input := input.(type) {
	case nil:
		return nil, nil
	case string:
		if input == "" {
			return nil, nil
		}
		return []string{input}, nil
	case []any:
		var texts []string
		for _, v := range input {
			text, ok := v.(string)
			if !ok {
				return nil, errInputType
			}
			texts = append(texts, text)
		}
		return texts, nil
	default:
		return nil, errInputType
	}
}

// embedAll loads the model if need be and embeds texts.
func (s *Server) embedAll(ctx context.Context, t task, texts []string) ([][]float32, usage, error) {
	start := time.Now()
	release, err := s.use(ctx, t.model, t.keep)
	if err != nil {
		return nil, usage{}, err
	}
	defer release()
	u := usage{load: max(1, time.Since(start))}
	vectors := [][]float32{}
	for _, text := range texts {
		vectors = append(vectors, embedding(text))
		u.promptTokens += countTokens(text)
	}
	u.eval = max(1, time.Since(start)-u.load)
	return vectors, u, nil
}

func (s *Server) embed(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Model     string     `json:"model"`
		Input     any        `json:"input"`
		KeepAlive *keepAlive `json:"keep_alive"`
	}
	if err := decode(w, r, &req); err != nil {
		writeDecodeError(w, err)
		return
	}
	texts, err := embedInput(req.Input)
	if err != nil {
		writeError(w, http.StatusBadRequest, "%s", err)
		return
	}
	m, ok := s.findToEmbed(w, req.Model)
	if !ok {
		return
	}
	vectors, u, err := s.embedAll(r.Context(), task{model: m, keep: req.KeepAlive}, texts)
	if err != nil {
		return
	}
	answer := struct {
		Model           string        `json:"model"`
		Embeddings      [][]float32   `json:"embeddings"`
		TotalDuration   time.Duration `json:"total_duration,omitempty"`
		LoadDuration    time.Duration `json:"load_duration,omitempty"`
		PromptEvalCount int           `json:"prompt_eval_count,omitempty"`
	}{Model: req.Model, Embeddings: vectors}
	if len(texts) > 0 {
		answer.TotalDuration, answer.LoadDuration, answer.PromptEvalCount = u.total(), u.load, u.promptTokens
	}
	writeJSON(w, http.StatusOK, answer)
}

// embeddings is the older of the two embedding routes.
func (s *Server) embeddings(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Model     string     `json:"model"`
		Prompt    string     `json:"prompt"`
		KeepAlive *keepAlive `json:"keep_alive"`
	}
	if err := decode(w, r, &req); err != nil {
		writeDecodeError(w, err)
		return
	}
	m, ok := s.findToEmbed(w, req.Model)
	if !ok {
		return
	}
	texts, _ := embedInput(req.Prompt) // a string always is one
	vectors, _, err := s.embedAll(r.Context(), task{model: m, keep: req.KeepAlive}, texts)
	if err != nil {
		return
	}
	vectors = append(vectors, []float32{}) // for an empty prompt
	writeJSON(w, http.StatusOK, map[string][]float32{"embedding": vectors[0]})
}

// findToEmbed answers for a model that isn't there.
func (s *Server) findToEmbed(w http.ResponseWriter, name string) (*installed, bool) {
	m, ok := s.find(name)
	if ok {
		return m, true
	}
	if _, err := core.ParseModelName(name); err != nil {
		writeError(w, http.StatusInternalServerError, "%s", unqualified(name))
	} else {
		writeError(w, http.StatusNotFound, "model %q not found, try pulling it first", name)
	}
	return nil, false
}
