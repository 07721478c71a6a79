package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const (
	chunks    = 20 // of a chat
	chatModel = "team0/model-0:latest"
	chatBody  = `{"model":"` + chatModel + `","messages":[{"role":"system","content":"You answer in one short sentence."},` +
		`{"role":"user","content":"Why is the sky blue, and why is it red in the evening?"}],"options":{"temperature":0.2},"stream":true}`

	// A chunk tells first when it was sent, in ns since 1970.
	chunkHead = `{"created_at":`
	chunkTail = `,"model":"` + chatModel + `","message":{"role":"assistant","content":" blue"},"done":false}` + "\n"
)

// chatAt is a chat with the server at base. Its chunks come gap apart, the
// first at once.
func chatAt(base string, gap time.Duration) request {
	r := request{http.MethodPost, base + "/api/chat", chatBody, http.StatusOK}
	if gap > 0 {
		r.url += "?gap=" + gap.String()
	}
	return r
}

// serveChat is a target whose model is loaded and answers in no time.
func serveChat(ctx context.Context, _ []string) error {
	s := sim.New(sim.Options{Models: models(3), Instant: true})
	load := httptest.NewRequest(http.MethodPost, "/api/generate", strings.NewReader(`{"model":"`+chatModel+`","keep_alive":-1}`))
	s.Handler().ServeHTTP(httptest.NewRecorder(), load)
	mux := http.NewServeMux()
	mux.Handle("/", s.Handler())
	mux.HandleFunc("POST /api/chat", chat)
	return serve(ctx, mux)
}

func chat(w http.ResponseWriter, r *http.Request) {
	var gap time.Duration
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	if r.URL.RawQuery != "" {
		gap, _ = time.ParseDuration(r.URL.Query().Get("gap"))
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flusher := http.NewResponseController(w)
	var line []byte
	for i := range chunks {
		if i > 0 && gap > 0 && sleep(r.Context(), gap) != nil {
			return
		}
		line = strconv.AppendInt(append(line[:0], chunkHead...), time.Now().UnixNano(), 10)
		line = append(line, chunkTail...)
		if _, err := w.Write(line); err != nil || flusher.Flush() != nil {
			return
		}
	}
}

// serveReverse is what anybody would put in front of the target in args, but
// for full duplex, without which net/http cuts some chats (golang/go#40747).
func serveReverse(ctx context.Context, args []string) error {
	target, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     &http.Transport{MaxIdleConnsPerHost: most, DisableCompression: true},
		FlushInterval: -1,
	}
	return serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if http.NewResponseController(w).EnableFullDuplex() == nil {
			proxy.ServeHTTP(w, r)
		}
	}))
}

// readChat reads a chat that comes as fast as it can, and decodes each chunk,
// as every client does.
func readChat(c *conn) error {
	lines := 0
	var bad error
	err := c.stream(func(piece []byte) {
		for line := range bytes.Lines(piece) {
			lines++
			var chunk struct {
				Message struct{ Role, Content string }
				Done    bool
			}
			bad = cmp.Or(bad, json.Unmarshal(line, &chunk))
		}
	})
	return cmp.Or(err, bad, complete(lines))
}

func complete(lines int) error {
	if lines != chunks {
		return fmt.Errorf("%d chunks of %d", lines, chunks)
	}
	return nil
}

// delays are how long the pieces of chats took to get here.
type delays struct {
	first []time.Duration // from the question to the first chunk
	worst []time.Duration // of each chat, from the target to here
}

// readPaced reads a chat whose chunks come one by one, and adds its delays.
func (d *delays) readPaced(c *conn) error {
	asked, lines := time.Now(), 0
	var first, worst time.Duration
	var bad error
	err := c.stream(func(piece []byte) {
		now := time.Now()
		for line := range bytes.Lines(piece) {
			if lines++; lines == 1 {
				first = now.Sub(asked)
			}
			sent, err := strconv.ParseInt(string(line[len(chunkHead):len(line)-len(chunkTail)]), 10, 64)
			bad = cmp.Or(bad, err)
			worst = max(worst, now.Sub(time.Unix(0, sent)))
		}
	})
	if err := cmp.Or(err, bad, complete(lines)); err != nil {
		return err
	}
	d.first, d.worst = append(d.first, first), append(d.worst, worst)
	return nil
}
