package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// writeOpenAI answers as Ollama's /v1 routes do: with a newline, and without
// a charset.
func writeOpenAI(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(mustJSON(v), '\n'))
}

type openAIError struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Param   any    `json:"param"`
	Code    any    `json:"code"`
}

func writeOpenAIError(w http.ResponseWriter, code int, format string, args ...any) {
	writeOpenAI(w, code, map[string]openAIError{
		"error": {Message: fmt.Sprintf(format, args...), Type: "api_error"},
	})
}

// writeOpenAIRefusal answers a request that Ollama's /v1 layer itself refuses.
func writeOpenAIRefusal(w http.ResponseWriter, message string) {
	writeJSON(w, http.StatusBadRequest, map[string]openAIError{
		"error": {Message: message, Type: "invalid_request_error"},
	})
}

func (s *Server) openAIModels(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body := s.catalog.cached(&s.catalog.openAI, encodeOpenAI)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func encodeOpenAI(list []*installed) []byte {
	var data []core.OpenAIModel // null, and not [], if there is none
	for _, m := range list {
		data = append(data, m.core().OpenAI(m.Name))
	}
	body := mustJSON(struct {
		Object string             `json:"object"`
		Data   []core.OpenAIModel `json:"data"`
	}{"list", data})
	return append(body, '\n')
}

func (s *Server) openAIModel(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/v1/models/")
	if m, ok := s.find(id); ok {
		writeOpenAI(w, http.StatusOK, m.core().OpenAI(id))
	} else {
		writeOpenAIError(w, http.StatusNotFound, "model '%s' not found", id)
	}
}

// openAIRequest is that of both kinds of completions.
type openAIRequest struct {
	Model    string `json:"model"`
	Prompt   string `json:"prompt"`
	Messages []struct {
		Content json.RawMessage `json:"content"` // a string, or an array of parts
	} `json:"messages"`
	Stream        bool `json:"stream"`
	MaxTokens     int  `json:"max_tokens"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type openAIUsage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

func (u usage) openAI() openAIUsage {
	return openAIUsage{u.promptTokens, u.tokens, u.promptTokens + u.tokens}
}

// A completion is a whole answer of /v1, or a chunk of one.
type completion struct {
	ID                string       `json:"id"`
	Object            string       `json:"object"`
	Created           int64        `json:"created"`
	Model             string       `json:"model"`
	SystemFingerprint string       `json:"system_fingerprint"`
	Choices           []choice     `json:"choices"`
	Usage             *openAIUsage `json:"usage,omitempty"`
}

type choice struct {
	Text         *string  `json:"text,omitempty"` // of /v1/completions
	Index        int      `json:"index"`
	Message      *message `json:"message,omitempty"` // of a whole chat answer
	Delta        *message `json:"delta,omitempty"`   // of a chunk of one
	FinishReason *string  `json:"finish_reason"`
}

// A format is what the two kinds of completions differ in.
type format struct {
	prefix string                   // of ids
	whole  string                   // object
	chunk  string                   // object
	full   func(text string) choice // of a whole answer
	delta  func(text string) choice // of a chunk
}

var chatFormat = format{
	"chatcmpl", "chat.completion", "chat.completion.chunk",
	func(text string) choice { return choice{Message: &message{"assistant", text}} },
	func(text string) choice { return choice{Delta: &message{"assistant", text}} },
}

var textFormat = format{
	"cmpl", "text_completion", "text_completion",
	func(text string) choice { return choice{Text: &text} },
	func(text string) choice { return choice{Text: &text} },
}

func (s *Server) openAIChat(w http.ResponseWriter, r *http.Request) {
	var req openAIRequest
	if err := decode(w, r, &req); err != nil {
		writeOpenAIRefusal(w, err.Error())
		return
	}
	if len(req.Messages) == 0 {
		writeOpenAIRefusal(w, "[] is too short - 'messages'")
		return
	}
	if _, err := core.ParseModelName(req.Model); err != nil {
		writeOpenAIError(w, http.StatusBadRequest, "model is required")
		return
	}
	for _, m := range req.Messages {
		req.Prompt += string(m.Content) + " "
	}
	s.complete(w, r, req, chatFormat, "chat")
}

func (s *Server) openAICompletions(w http.ResponseWriter, r *http.Request) {
	var req openAIRequest
	if err := decode(w, r, &req); err != nil {
		writeOpenAIRefusal(w, err.Error())
		return
	}
	s.complete(w, r, req, textFormat, "generate")
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, req openAIRequest, f format, verb string) {
	m, ok := s.find(req.Model)
	if !ok {
		writeOpenAIError(w, http.StatusNotFound, "model '%s' not found", req.Model)
		return
	}
	if m.Embedding {
		writeOpenAIError(w, http.StatusBadRequest, "%q does not support %s", req.Model, verb)
		return
	}
	t := task{model: m, prompt: req.Prompt, limit: req.MaxTokens}
	c := completion{
		ID:                fmt.Sprintf("%s-%d", f.prefix, s.completions.Add(1)),
		Created:           time.Now().Unix(),
		Model:             req.Model,
		SystemFingerprint: "fp_ollama",
	}
	if req.Stream {
		s.completeStream(w, r, t, f, c, req.StreamOptions.IncludeUsage)
		return
	}
	var text strings.Builder
	u, err := s.answer(r.Context(), t, func(token string) error {
		text.WriteString(token)
		return nil
	})
	if err != nil { // the caller has left
		return
	}
	answer := f.full(text.String())
	answer.FinishReason = &u.doneReason
	used := u.openAI()
	c.Object, c.Choices, c.Usage = f.whole, []choice{answer}, &used
	writeOpenAI(w, http.StatusOK, c)
}

func (s *Server) completeStream(w http.ResponseWriter, r *http.Request, t task, f format, c completion, withUsage bool) {
	events := newStream(w, "text/event-stream")
	send := func(c completion) error {
		return events.send(fmt.Appendf(nil, "data: %s\n\n", mustJSON(c)))
	}
	c.Object = f.chunk
	u, err := s.answer(r.Context(), t, func(token string) error {
		c.Choices = []choice{f.delta(token)}
		return send(c)
	})
	if err != nil { // the caller has left
		return
	}
	last := f.delta("")
	last.FinishReason = &u.doneReason
	c.Choices = []choice{last}
	send(c)
	if withUsage {
		used := u.openAI()
		c.Choices, c.Usage = []choice{}, &used
		send(c)
	}
	events.send([]byte("data: [DONE]\n\n"))
}

func (s *Server) openAIEmbeddings(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Model string `json:"model"`
		Input any    `json:"input"`
	}
	if err := decode(w, r, &req); err != nil {
		writeOpenAIRefusal(w, err.Error())
		return
	}
	texts, err := embedInput(req.Input)
	if err != nil || len(texts) == 0 {
		writeOpenAIRefusal(w, "invalid input")
		return
	}
	m, ok := s.find(req.Model)
	if !ok {
		writeOpenAIError(w, http.StatusNotFound, "model %q not found, try pulling it first", req.Model)
		return
	}
	vectors, u, err := s.embedAll(r.Context(), task{model: m}, texts)
	if err != nil {
		return
	}
	writeOpenAI(w, http.StatusOK, embeddingList(req.Model, vectors, u))
}

func embeddingList(model string, vectors [][]float32, u usage) any {
	type entry struct {
		Object    string    `json:"object"`
		Embedding []float32 `json:"embedding"`
		Index     int       `json:"index"`
	}
	data := make([]entry, len(vectors))
	for i, v := range vectors {
		data[i] = entry{"embedding", v, i}
	}
	return map[string]any{
		"object": "list", "data": data, "model": model,
		"usage": map[string]int{"prompt_tokens": u.promptTokens, "total_tokens": u.promptTokens},
	}
}
