package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// answerText is what every model says, a word a token.
const answerText = "This is a simulated answer: no model has read your words. " +
	"It comes one token at a time, as a real answer would."

// keepAlive is a request's keep_alive: seconds as a number, or a duration as
// a string; a negative one means for ever. The errors are Ollama's words.
type keepAlive time.Duration

func (k *keepAlive) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case float64:
		d := v * float64(time.Second)
		if d < 0 || d >= math.MaxInt64 {
			d = -1
		}
		*k = keepAlive(forever(time.Duration(d)))
	case string:
		d, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		*k = keepAlive(forever(d))
	default:
		//lint:ignore ST1005 a caller sees these words as they are
		return fmt.Errorf("Unsupported type: '%T'", v)
	}
	return nil
}

// A task is one answer to give.
type task struct {
	model  *installed
	prompt string
	limit  int // of tokens; below 1 there is none
	keep   *keepAlive
}

// usage is what an answer took.
type usage struct {
	doneReason         string // "stop" or "length"
	promptTokens       int
	tokens             int
	load, prompt, eval time.Duration // never 0: Ollama leaves zeros out
}

func (u usage) total() time.Duration { return u.load + u.prompt + u.eval }

// answer loads the model if need be and gives its tokens to emit. The error is
// ctx's, or emit's.
func (s *Server) answer(ctx context.Context, t task, emit func(token string) error) (usage, error) {
	start := time.Now()
	release, err := s.use(ctx, t.model, t.keep)
	if err != nil {
		return usage{}, err
	}
	defer release()
	loaded := time.Now()

	u := usage{doneReason: "stop", promptTokens: countTokens(t.prompt)}
	perToken := time.Duration(float64(time.Second) / t.model.TokensPerSecond)
	// Reading is some twenty times as fast as writing.
	if err := s.pass(ctx, time.Duration(u.promptTokens)*perToken/20); err != nil {
		return usage{}, err
	}
	read := time.Now()

	for _, token := range strings.SplitAfter(answerText, " ") {
		if t.limit > 0 && u.tokens == t.limit {
			u.doneReason = "length"
			break
		}
		if err := s.pass(ctx, perToken); err != nil {
			return usage{}, err
		}
		if err := emit(token); err != nil {
			return usage{}, err
		}
		u.tokens++
	}
	u.load = max(1, loaded.Sub(start))
	u.prompt = max(1, read.Sub(loaded))
	u.eval = max(1, time.Since(read))
	return u, nil
}

func countTokens(prompt string) int { return max(1, len(strings.Fields(prompt))) }

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// inferenceRequest is that of /api/generate and /api/chat.
type inferenceRequest struct {
	Model     string     `json:"model"`
	Prompt    string     `json:"prompt"`
	Messages  []message  `json:"messages"`
	Stream    *bool      `json:"stream"` // nil means true
	KeepAlive *keepAlive `json:"keep_alive"`
	Options   struct {
		NumPredict float64 `json:"num_predict"`
	} `json:"options"`
}

// reply is a line of an answer, or all of it.
type reply struct {
	Model     string    `json:"model"`
	CreatedAt time.Time `json:"created_at"`

	Message  *message `json:"message,omitempty"`  // of /api/chat
	Response *string  `json:"response,omitempty"` // of /api/generate

	Done               bool          `json:"done"`
	DoneReason         string        `json:"done_reason,omitempty"`
	Context            []int         `json:"context,omitempty"` // of /api/generate
	TotalDuration      time.Duration `json:"total_duration,omitempty"`
	LoadDuration       time.Duration `json:"load_duration,omitempty"`
	PromptEvalCount    int           `json:"prompt_eval_count,omitempty"`
	PromptEvalDuration time.Duration `json:"prompt_eval_duration,omitempty"`
	EvalCount          int           `json:"eval_count,omitempty"`
	EvalDuration       time.Duration `json:"eval_duration,omitempty"`
}

// A dialect is what /api/generate and /api/chat differ in.
type dialect struct {
	verb  string
	empty bool // the request has nothing to answer
	reply func(text string) reply
}

func (s *Server) generate(w http.ResponseWriter, r *http.Request) {
	var req inferenceRequest
	if err := decode(w, r, &req); err != nil {
		writeDecodeError(w, err)
		return
	}
	s.infer(w, r, req, dialect{"generate", req.Prompt == "", func(text string) reply {
		return reply{Model: req.Model, CreatedAt: time.Now().UTC(), Response: &text}
	}})
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	var req inferenceRequest
	if err := decode(w, r, &req); err != nil {
		writeDecodeError(w, err)
		return
	}
	if _, err := core.ParseModelName(req.Model); err != nil {
		writeError(w, http.StatusBadRequest, "model is required")
		return
	}
	var words []string
	for _, m := range req.Messages {
		words = append(words, m.Content)
	}
	req.Prompt = strings.Join(words, " ")
	s.infer(w, r, req, dialect{"chat", len(req.Messages) == 0, func(text string) reply {
		return reply{Model: req.Model, CreatedAt: time.Now().UTC(), Message: &message{"assistant", text}}
	}})
}

func (s *Server) infer(w http.ResponseWriter, r *http.Request, req inferenceRequest, d dialect) {
	m, ok := s.find(req.Model)
	switch {
	case !ok:
		writeError(w, http.StatusNotFound, "model '%s' not found", req.Model)
	case d.empty && req.KeepAlive != nil && *req.KeepAlive == 0:
		s.expire(m)
		writeDone(w, d.reply(""), "unload")
	case m.Embedding:
		writeError(w, http.StatusBadRequest, "%q does not support %s", req.Model, d.verb)
	case d.empty:
		if release, err := s.use(r.Context(), m, req.KeepAlive); err == nil {
			release()
			writeDone(w, d.reply(""), "load")
		}
	default:
		t := task{model: m, prompt: req.Prompt, limit: int(req.Options.NumPredict), keep: req.KeepAlive}
		if req.Stream == nil || *req.Stream {
			s.stream(w, r, t, d)
		} else {
			s.whole(w, r, t, d)
		}
	}
}

func writeDone(w http.ResponseWriter, rep reply, reason string) {
	rep.Done, rep.DoneReason = true, reason
	writeJSON(w, http.StatusOK, rep)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, t task, d dialect) {
	lines := newStream(w, "application/x-ndjson")
	u, err := s.answer(r.Context(), t, func(token string) error {
		return lines.send(append(mustJSON(d.reply(token)), '\n'))
	})
	if err == nil { // else the caller has left
		lines.send(append(mustJSON(d.reply("").finish(u)), '\n'))
	}
}

func (s *Server) whole(w http.ResponseWriter, r *http.Request, t task, d dialect) {
	var text strings.Builder
	u, err := s.answer(r.Context(), t, func(token string) error {
		text.WriteString(token)
		return nil
	})
	if err == nil {
		writeJSON(w, http.StatusOK, d.reply(text.String()).finish(u))
	}
}

// finish makes rep the last, or only, part of an answer.
func (rep reply) finish(u usage) reply {
	rep.Done, rep.DoneReason = true, u.doneReason
	if rep.Response != nil {
		for id := range u.promptTokens + u.tokens {
			rep.Context = append(rep.Context, id+1)
		}
	}
	rep.TotalDuration, rep.LoadDuration = u.total(), u.load
	rep.PromptEvalCount, rep.PromptEvalDuration = u.promptTokens, u.prompt
	rep.EvalCount, rep.EvalDuration = u.tokens, u.eval
	return rep
}

// A stream flushes each part of a body as it comes.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// newStream sends nothing yet, so that an error can still take the place of
// the body.
func newStream(w http.ResponseWriter, contentType string) stream {
	w.Header().Set("Content-Type", contentType)
	return stream{w, http.NewResponseController(w)}
}

func (st stream) send(part []byte) error {
	_, err := st.w.Write(part)
	st.control.Flush() // a writer that can't has nobody who waits
	return err
}

// writeDecodeError says what is wrong with a native request's body.
func writeDecodeError(w http.ResponseWriter, err error) {
	if errors.Is(err, io.EOF) {
		err = errors.New("missing request body")
	}
	writeError(w, http.StatusBadRequest, "%s", err)
}
