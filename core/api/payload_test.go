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
