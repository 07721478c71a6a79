//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// numberHeader says which request it is, to the target too.
const numberHeader = "Test-Number"

// sideBySide lets requests run at the same time, for a target that minds no
// more than the simulated one does.
const sideBySide = `parallel = 256`

// A target is a simulated Ollama that answers without delay and keeps what it
// has sent. It has the model llama3.2.
type target struct {
	*sim.Server
	URL string

	mu   sync.Mutex
	sent map[string][]*bytes.Buffer // the answers to each request, by its number
}

func newTarget(t *testing.T) *target {
	t.Helper()
	ollamaBin(t) // these are end-to-end tests, which run with the others
	tg := &target{Server: sim.New(sim.Options{Instant: true}), sent: make(map[string][]*bytes.Buffer)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if number := r.Header.Get(numberHeader); number != "" {
			answerEarly(w)
			w = &recorder{ResponseWriter: w, target: tg, answer: tg.begin(number)}
		}
		tg.Handler().ServeHTTP(w, r)
	}))
	tg.URL = front.URL
	t.Cleanup(func() {
		front.CloseClientConnections()
		tg.Close()
		front.Close()
	})
	return tg
}

// answerEarly begins the answer while the request's body is still on its way,
// which is when net/http cuts streams (golang/go#40747).
func answerEarly(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	_ = control.Flush()
}

func (tg *target) begin(number string) *bytes.Buffer {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	answer := new(bytes.Buffer)
	tg.sent[number] = append(tg.sent[number], answer)
	return answer
}

// answers is what it has sent for a request, each time that it got it.
func (tg *target) answers(number string) (answers [][]byte) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	for _, answer := range tg.sent[number] {
		answers = append(answers, bytes.Clone(answer.Bytes()))
	}
	return answers
}

// answer is what it has sent the last time.
func (tg *target) answer(number string) []byte {
	if answers := tg.answers(number); len(answers) > 0 {
		return answers[len(answers)-1]
	}
	return nil
}

var errBroken = errors.New("the stream breaks off")

// judge is nil if the caller of a stream has got the whole of an answer,
// errBroken if it sees that it hasn't, and else says what is wrong with that.
func (tg *target) judge(number string, got testkit.Answer, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the stream hangs after %d bytes", len(got.Body))
	}
	answers := tg.answers(number)
	for _, sent := range answers {
		whole := bytes.Contains(sent, []byte(`"done":true`)) || bytes.HasSuffix(sent, []byte("data: [DONE]\n\n"))
		switch {
		case err == nil && whole && got.Status == http.StatusOK && bytes.Equal(sent, got.Body):
			return nil
		case err != nil && bytes.HasPrefix(sent, got.Body):
			return fmt.Errorf("%w after %d bytes of %d: %w", errBroken, len(got.Body), len(sent), err)
		}
	}
	return fmt.Errorf("status %d, error %v: the target sent\n%s\nand this came\n%s", got.Status, err, bytes.Join(answers, []byte("\nor\n")), got.Body)
}

// pauseOnce has the next answer of path be a first part, silence until goOn
// is closed, and a second part. Closed are arrived once the request is there,
// and left once its caller isn't.
func (tg *target) pauseOnce(path, first, second string) (arrived <-chan struct{}, goOn chan<- struct{}, left <-chan struct{}) {
	came, gate, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	tg.FailNext(path, 1, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // before that net/http doesn't notice a caller that leaves
		if first != "" {
			fmt.Fprint(w, first)
			_ = http.NewResponseController(w).Flush()
		}
		close(came)
		select {
		case <-gate:
			fmt.Fprint(w, second)
		case <-r.Context().Done():
			close(gone)
		}
	})
	return came, gate, gone
}

// A recorder keeps what it passes on.
type recorder struct {
	http.ResponseWriter
	target *target
	answer *bytes.Buffer
}

// Unwrap lets an http.ResponseController flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Write(p []byte) (int, error) {
	r.target.mu.Lock()
	r.answer.Write(p)
	r.target.mu.Unlock()
	return r.ResponseWriter.Write(p)
}

// asked are requests for a stream, by their number.
func asked(number int) (path, body string) {
	prompt := "why"
	if number%16 == 0 { // more than comes with the header
		prompt = strings.Repeat("why ", 25_000)
	}
	if number%2 == 0 {
		return "/api/chat", fmt.Sprintf(`{"model":"llama3.2","messages":[{"role":"user","content":%q}]}`, prompt)
	}
	return "/v1/completions", fmt.Sprintf(`{"model":"llama3.2","prompt":%q,"stream":true}`, prompt)
}

// callers are clients that hold at most so many connections.
func callers(t *testing.T, connections int) *http.Client {
	transport := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// call returns once an answer begins.
func call(ctx context.Context, client *http.Client, url, body, number string) (*http.Response, error) {
	// Of unknown length it goes out in chunks, and its end comes after it.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(numberHeader, number)
	return client.Do(req)
}

// rest returns what came of an answer, and what ended it early.
func rest(resp *http.Response) (testkit.Answer, error) {
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return testkit.Answer{Status: resp.StatusCode, Header: resp.Header, Body: got}, err
}

// post is call and rest.
func post(ctx context.Context, client *http.Client, url, body, number string) (testkit.Answer, error) {
	resp, err := call(ctx, client, url, body, number)
	if err != nil {
		return testkit.Answer{}, err
	}
	return rest(resp)
}

// A stream is an answer that has begun.
type stream struct {
	t     *testing.T
	body  io.ReadCloser
	leave context.CancelFunc
}

// begin asks for a stream, and returns once its first bytes have come.
func begin(t *testing.T, url, path, body string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	watchdog := time.AfterFunc(time.Minute, cancel)
	t.Cleanup(func() { watchdog.Stop() })
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{t: t, body: resp.Body, leave: cancel}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: status %d %s", path, resp.StatusCode, text)
	}
	s.more(1)
	return s
}

// more reads at least so many bytes.
func (s *stream) more(bytes int) {
	s.t.Helper()
	if _, err := io.ReadFull(s.body, make([]byte, bytes)); err != nil {
		s.t.Fatalf("the stream ends: %v", err)
	}
}

// mustBreak waits for an end that the caller can't take for a good one.
func (s *stream) mustBreak(within time.Duration) {
	s.t.Helper()
	began := time.Now()
	_, err := io.Copy(io.Discard, s.body)
	if took := time.Since(began); err == nil || errors.Is(err, context.Canceled) || took > within {
		s.t.Errorf("the stream ends after %v with %v; want it broken within %v", took, err, within)
	} else {
		s.t.Logf("the stream breaks after %v: %v", took, err)
	}
}

// A pending is a request whose answer is awaited elsewhere.
type pending struct {
	t      *testing.T
	result chan result
	leave  context.CancelFunc
}

type result struct {
	answer testkit.Answer
	err    error
	after  time.Duration
}

// send returns once the request has been sent.
func send(t *testing.T, url, body, number string) *pending {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	written := make(chan struct{}, 1)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { written <- struct{}{} },
	})
	p := &pending{t: t, result: make(chan result, 1), leave: cancel}
	client := callers(t, 1)
	go func() {
		began := time.Now()
		answer, err := post(ctx, client, url, body, number)
		p.result <- result{answer, err, time.Since(began)}
	}()
	select {
	case <-written:
	case <-ctx.Done():
		t.Fatalf("%s takes no request", url)
	}
	return p
}

// waits tells whether there is no answer yet.
func (p *pending) waits() bool { return len(p.result) == 0 }

// mustAnswer waits for the answer.
func (p *pending) mustAnswer(within time.Duration, status int) result {
	p.t.Helper()
	select {
	case r := <-p.result:
		if r.err != nil || r.answer.Status != status {
			p.t.Fatalf("after %v: status %d %s, %v; want %d", r.after, r.answer.Status, r.answer.Body, r.err, status)
		}
		return r
	case <-time.After(within):
		p.t.Fatalf("no answer within %v", within)
		return result{}
	}
}
