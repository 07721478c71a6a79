package sim_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

type line struct {
	Message       struct{ Content string }
	Response      string
	Done          bool
	DoneReason    string        `json:"done_reason"`
	LoadDuration  time.Duration `json:"load_duration"`
	TotalDuration time.Duration `json:"total_duration"`
	PromptTokens  int           `json:"prompt_eval_count"`
	Tokens        int           `json:"eval_count"`
	EvalDuration  time.Duration `json:"eval_duration"`
}

func ndjson(t *testing.T, body string) []line {
	t.Helper()
	var all []line
	for text := range strings.Lines(body) {
		all = append(all, decodeJSON[line](t, text))
	}
	return all
}

func TestAnswersAreTheSameHoweverTheyAreAskedFor(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "a"}, {Name: "b"}}, Instant: true})
	streamed := func(path, body string) string {
		var text strings.Builder
		lines := ndjson(t, call(s, "POST", path, body).Body.String())
		for i, l := range lines {
			text.WriteString(l.Response + l.Message.Content)
			if l.Done != (i == len(lines)-1) {
				t.Errorf("%s: line %d of %d: done is %v", path, i, len(lines), l.Done)
			}
		}
		last := lines[len(lines)-1]
		if last.DoneReason != "stop" || last.Tokens != len(lines)-1 || last.PromptTokens != 4 {
			t.Errorf("%s: the last line is %+v after %d tokens", path, last, len(lines)-1)
		}
		return text.String()
	}
	whole := func(path, body string) string {
		l := decodeJSON[line](t, call(s, "POST", path, body).Body.String())
		return l.Response + l.Message.Content
	}
	type choices struct {
		Choices []struct {
			Text    string
			Message struct{ Content string }
		}
	}
	openAI := func(path, body string) string {
		c := decodeJSON[choices](t, call(s, "POST", path, body).Body.String()).Choices[0]
		return c.Text + c.Message.Content
	}

	want := streamed("/api/generate", `{"model":"a","prompt":"why is it blue"}`)
	if !strings.Contains(want, "simulated") {
		t.Errorf("%q doesn't say that it is simulated", want)
	}
	for how, got := range map[string]string{
		"chat, streamed":    streamed("/api/chat", `{"model":"b","messages":[{"role":"user","content":"why is"},{"role":"user","content":"it blue"}]}`),
		"generate, whole":   whole("/api/generate", `{"model":"a","prompt":"another","stream":false}`),
		"chat, whole":       whole("/api/chat", `{"model":"a","messages":[{"role":"user","content":"x"}],"stream":false}`),
		"OpenAI chat":       openAI("/v1/chat/completions", `{"model":"a","messages":[{"role":"user","content":"x"}]}`),
		"OpenAI completion": openAI("/v1/completions", `{"model":"a","prompt":"x"}`),
	} {
		if got != want {
			t.Errorf("%s: %q, want %q", how, got, want)
		}
	}
}

func TestAnswersTakeTheTimeOfTheirTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{Models: []sim.Model{{Name: "a", Load: 3 * time.Second, TokensPerSecond: 10}}})
		began := time.Now()
		w := call(s, "POST", "/api/generate", `{"model":"a","prompt":"hi","stream":false,"options":{"num_predict":5}}`)
		took := time.Since(began)
		got := decodeJSON[line](t, w.Body.String())
		if got.LoadDuration != 3*time.Second || got.EvalDuration != 500*time.Millisecond || got.TotalDuration != took {
			t.Errorf("load %v, eval %v, total %v; took %v", got.LoadDuration, got.EvalDuration, got.TotalDuration, took)
		}
		if got.Tokens != 5 || got.DoneReason != "length" {
			t.Errorf("%d tokens, %q; want 5, length", got.Tokens, got.DoneReason)
		}
	})
}

// flushes notes when each part of a body is sent.
type flushes struct {
	*httptest.ResponseRecorder
	at []time.Time
}

func (f *flushes) Flush() { f.at = append(f.at, time.Now()) }

func TestTokensAreSentOneByOne(t *testing.T) {
	for path, body := range map[string]string{
		"/api/generate":        `{"model":"a","prompt":"hi","options":{"num_predict":3}}`,
		"/v1/chat/completions": `{"model":"a","stream":true,"max_tokens":3,"messages":[{"role":"user","content":"hi"}]}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := sim.New(sim.Options{Models: []sim.Model{{Name: "a", TokensPerSecond: 1}}})
			w := &flushes{ResponseRecorder: httptest.NewRecorder()}
			s.Handler().ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
			if len(w.at) < 4 {
				t.Fatalf("%s: sent in %d parts", path, len(w.at))
			}
			for i := range 2 {
				if gap := w.at[i+1].Sub(w.at[i]); gap != time.Second {
					t.Errorf("%s: token %d came %v after the one before, want 1s", path, i+1, gap)
				}
			}
		})
	}
}

func TestEmbeddings(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "e", Embedding: true}}, Instant: true})
	embed := func(input string) [][]float64 {
		w := call(s, "POST", "/api/embed", `{"model":"e","input":`+input+`}`)
		return decodeJSON[struct{ Embeddings [][]float64 }](t, w.Body.String()).Embeddings
	}
	two := embed(`["sky","sea"]`)
	if len(two) != 2 || two[0][0] == two[1][0] {
		t.Errorf("two texts gave %d vectors, or the same", len(two))
	}
	if again := embed(`"sky"`); again[0][0] != two[0][0] {
		t.Error("the same text gave another vector")
	}
	var square float64
	for _, x := range two[0] {
		square += x * x
	}
	if square < 0.999 || square > 1.001 {
		t.Errorf("the vector's length squared is %v, want 1", square)
	}
	for _, c := range [][3]string{
		{"/api/embed", `{"model":"e"}`, `{"model":"e","embeddings":[]}`},
		{"/api/embed", `{"model":"e","input":""}`, `{"model":"e","embeddings":[]}`},
		{"/api/embed", `{"model":"e","input":5}`, `{"error":"invalid input type"}`},
		{"/api/embeddings", `{"model":"e"}`, `{"embedding":[]}`},
		{"/v1/embeddings", `{"model":"e"}`, `{"error":{"message":"invalid input","type":"invalid_request_error","param":null,"code":null}}`},
	} {
		if got := call(s, "POST", c[0], c[1]).Body.String(); got != c[2] {
			t.Errorf("%s %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

func TestOpenAIStreamEndsWithDone(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{{Name: "a"}}, Instant: true})
	body := call(s, "POST", "/v1/completions", `{"model":"a","prompt":"hi","stream":true,"max_tokens":2}`).Body.String()
	var events []string
	for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		events = append(events, strings.TrimPrefix(event, "data: "))
	}
	if len(events) != 4 || events[3] != "[DONE]" || !strings.Contains(events[2], `"finish_reason":"length"`) {
		t.Errorf("events: %q", events)
	}
}
