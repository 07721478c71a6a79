package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStreamDoesNotHoldWhatItWasAskedWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, over := make(chan struct{}), make(chan struct{})
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-over
			_, _ = io.WriteString(w, "a chunk")
			flush(w)
			<-over
		}))
		asked := make(chan *http.Response)
		go func() {
			resp, err := f.chat()
			if err != nil {
				t.Error(err)
			}
			asked <- resp
		}()
		<-begun
		if !f.server.HoldsBodies() {
			t.Error("before the first byte the request may have to be sent again, and isn't there")
		}
		over <- struct{}{}
		resp := <-asked
		synctest.Wait()
		if f.server.HoldsBodies() {
			t.Error("the stream holds the request's body")
		}
		close(over)
		read(t, resp)
	})
}

func TestNoBodyIsHeldOnceItIsAnswered(t *testing.T) {
	f := start(t, tiny(), nil)
	for path, body := range map[string]string{
		"/api/chat": `{"model":"nope"}`, "/api/show": `{`, "/api/pull": `{"model":"nope"}`, "/v1/embeddings": strings.Repeat(" ", 2<<20),
	} {
		if got := f.do("POST", path, body); got.status < 400 {
			t.Errorf("%s: %d", path, got.status)
		}
		if f.server.HoldsBodies() {
			t.Errorf("%s: the body is held", path)
		}
	}
}

func TestBodiesTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), nil)
		f.server.TakeBudget(100 << 10)
		began := time.Now()
		got := f.do("POST", "/api/chat", asksTiny)
		got.says(t, 503, `{"error":"foreman holds as many requests as it has memory for"}`)
		if took := time.Since(began); took != 10*time.Second || got.header.Get("Retry-After") == "" {
			t.Errorf("after %v, Retry-After %q", took, got.header.Get("Retry-After"))
		}
	})
}

// asksAtLength is a chat of n bytes.
func asksAtLength(n int) string { return asksTiny + strings.Repeat(" ", n-len(asksTiny)) }

// sends has a caller submit a job, who sends first and then, once goOn closes,
// the rest. The status comes.
func (f *foreman) sends(first, rest string, goOn <-chan struct{}) (status <-chan int) {
	body, sender := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		resp, err := f.client.Post("http://localhost:11435/jobs", "application/json", body)
		if err != nil {
			f.t.Error(err)
			close(answered)
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	go func() {
		_, _ = io.WriteString(sender, first) // fails if the answer comes first
		<-goOn
		_, _ = io.WriteString(sender, rest)
		_ = sender.Close()
	}()
	return answered
}

// TestLargeBodiesAtOnce have room one after the other, though not together.
func TestLargeBodiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), nil, newShelf().options, func(o *setup) { o.MaxBody = 16 << 20 })
		f.server.TakeBudget(59 << 20) // for three of them, and 4 MiB of each other
		body, goOn := asksAtLength(7<<20), make(chan struct{})
		var all []<-chan int
		for range 12 {
			all = append(all, f.sends(body[:5<<20], body[5<<20:], goOn))
		}
		synctest.Wait()
		began := time.Now()
		close(goOn)
		for _, status := range all {
			if got := <-status; got != 202 {
				t.Errorf("one is answered %d", got)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("they waited for %v", took)
		}
	})
}

// TestSlowSendersOfLargeBodies hold nobody up for long.
func TestSlowSendersOfLargeBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), nil, newShelf().options, func(o *setup) { o.MaxBody = 16 << 20 })
		goOn := make(chan struct{})
		var all []<-chan int
		for range 10 {
			all = append(all, f.sends(asksAtLength(5<<20), " ", goOn))
		}
		synctest.Wait()
		began := time.Now()
		f.do("POST", "/jobs", asksTiny).says(t, 202, `{"job_id":"J1"}`)
		if took := time.Since(began); took > 0 {
			t.Errorf("a small one waited for %v", took)
		}
		f.do("POST", "/jobs", asksAtLength(5<<20)).says(t, 202, `{"job_id":"J2"}`)
		if took := time.Since(began); took >= 10*time.Second {
			t.Errorf("a large one waited for %v", took)
		}
		close(goOn)
		for _, status := range all {
			if got := <-status; got != 202 {
				t.Errorf("a slow one is answered %d", got)
			}
		}
	})
}
