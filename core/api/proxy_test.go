package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// inferenceRoutes are those whose requests go to the target.
var inferenceRoutes = []string{
	"/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/v1/chat/completions",
	"/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages",
}

const asksTiny = `{"model":"tiny"}`

// tiny is what is believed of a target that has one model, and that resident.
func tiny() *core.Snapshot {
	return after(nothing(), sees(time.Now(), []core.Model{named("tiny:latest")}, []core.Resident{{Name: "tiny:latest", Raw: []byte(`{"name":"tiny:latest"}`)}}))
}

func retryFor(wait time.Duration) func(*setup) {
	return func(o *setup) { o.RetryMaxWait = wait }
}

// chat asks for tiny and returns as soon as the answer has begun.
func (f *foreman) chat() (*http.Response, error) {
	return f.client.Post("http://localhost/api/chat", "application/json", strings.NewReader(asksTiny))
}

// listens is a target that reads a request before it answers, as Ollama does;
// net/http doesn't notice before that when its caller leaves.
func listens(answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, r)
	})
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

func TestBytesPassThroughUntouched(t *testing.T) {
	sent := "{ \"model\":\t\"TINY\", \"n\": 1.0e+2, \"s\": \"\\u00e9<&\xff\" }\n\n"
	answered := "{\"big\":12345678901234567890, \"bytes\":\"\x00\xfe\"}\r\n"
	var got []string
	f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s%s %d %s", r.Method, r.Host, r.URL, r.ContentLength, body))
		w.Header().Set("Content-Type", "text/x-odd")
		w.WriteHeader(207)
		_, _ = io.WriteString(w, answered)
	}), func(o *setup) {
		o.Upstream = func() (core.Upstream, error) { return core.Upstream{URL: upstream + "/base"}, nil }
	})
	var want []string
	for _, path := range inferenceRoutes {
		a := f.do("POST", path+"?a=%2f&b", sent)
		if a.status != 207 || a.body != answered || a.header.Get("Content-Type") != "text/x-odd" {
			t.Errorf("%s answered %d %q %v", path, a.status, a.body, a.header)
		}
		want = append(want, fmt.Sprintf("POST ollama.test:11434/base%s?a=%%2f&b %d %s", path, len(sent), sent))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the target got (-want +got):\n%s", diff)
	}
}

func TestEachChunkLeavesAtOnce(t *testing.T) {
	for kind, line := range map[string]string{
		"application/x-ndjson": "{\"n\":%d}\n", "text/event-stream": "data: {\"n\":%d}\n\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				for i := range 60 {
					fmt.Fprintf(w, line, i)
					flush(w)
					time.Sleep(time.Minute)
				}
			}))
			resp, err := f.chat()
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("X-Accel-Buffering"); got != "no" || resp.Header.Get("Content-Type") != kind {
				t.Errorf("answered with %v", resp.Header)
			}
			began, buf := time.Now(), make([]byte, 1024)
			for i := range 60 {
				n, err := resp.Body.Read(buf)
				if want := fmt.Sprintf(line, i); err != nil || string(buf[:n]) != want || time.Since(began) != time.Duration(i)*time.Minute {
					t.Fatalf("after %v: %q, %v; want %q", time.Since(began), buf[:n], err, want)
				}
			}
			if n, err := resp.Body.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("ends with %q, %v", buf[:n], err)
			}
		})
	}
}

func TestAnAnswerWithALengthKeepsIt(t *testing.T) {
	f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(bytes.Repeat([]byte("x"), 100_000))
	}))
	resp, err := f.chat()
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, resp)
	if resp.ContentLength != 100_000 || len(got.body) != 100_000 || got.header.Get("X-Accel-Buffering") != "" {
		t.Errorf("%d bytes of %d, %v", len(got.body), resp.ContentLength, got.header)
	}
}

func TestAnAnswerWithoutABody(t *testing.T) {
	f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	}))
	for range 2 { // also over a connection that has been used
		if got := f.do("POST", "/api/chat", asksTiny); got.status != 204 || got.body != "" {
			t.Errorf("%d %q", got.status, got.body)
		}
	}
}

// What the target says of a request is for the caller, and said once.
func TestTheTargetsOwnErrorsPassThrough(t *testing.T) {
	for _, status := range []int{400, 401, 404, 413, 429, 500, 502, 503} {
		requests := 0
		f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Retry-After", "77")
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`)
		}), retryFor(time.Minute))
		got := f.do("POST", "/v1/chat/completions", asksTiny)
		got.says(t, status, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`)
		if got.header.Get("Retry-After") != "77" || requests != 1 {
			t.Errorf("%d: asked %d times, %v", status, requests, got.header)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		requests := 0
		f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			http.Redirect(w, r, "http://ollama.test:11434/elsewhere", status)
		}), retryFor(time.Minute))
		got := f.do("POST", "/api/chat", asksTiny)
		got.says(t, 503, `{"error":"foreman can't reach its target: redirect"}`)
		if requests != 1 || got.header.Get("Location") != "" {
			t.Errorf("%d: asked %d times, %v", status, requests, got.header)
		}
	}
}

func TestTheTargetIsFreedWhenTheCallerLeaves(t *testing.T) {
	for _, chunks := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan time.Time, 1)
			requests := atomic.Int32{}
			f := start(t, tiny(), listens(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				for range chunks {
					fmt.Fprintln(w, "{}")
					flush(w)
				}
				<-r.Context().Done()
				ended <- time.Now()
			}), retryFor(time.Minute))
			ctx, leave := context.WithCancel(t.Context())
			began := time.Now()
			time.AfterFunc(time.Second, leave)
			req, _ := http.NewRequestWithContext(ctx, "POST", "http://localhost/api/chat", strings.NewReader(asksTiny))
			if resp, err := f.client.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if took := (<-ended).Sub(began); took != time.Second {
				t.Errorf("after %d chunks the target is held for %v", chunks, took)
			}
			time.Sleep(5 * time.Minute)
			if _, nudges := f.asked(); requests.Load() != 1 || nudges != 0 {
				t.Errorf("asked %d times and looked at %d times for a caller who left", requests.Load(), nudges)
			}
		})
	}
}

func TestABrokenAnswerIsBrokenForTheCallerToo(t *testing.T) {
	for _, header := range []string{"X-Streamed: yes", "Content-Length: 100"} {
		requests := 0
		f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
			fmt.Fprintln(w, `{"n":1}`)
			flush(w)
			panic(http.ErrAbortHandler)
		}), retryFor(time.Minute))
		resp, err := f.chat()
		if err == nil { // an answer that isn't streamed may not even have begun
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("%s: the caller sees %v", header, err)
		}
		if requests != 1 {
			t.Errorf("%s: tried %d times after its first byte", header, requests)
		}
	}
}

// Of HTTP/1.0, which proxies still speak, a closed connection is a clean end.
func TestABrokenStreamIsAResetForHTTP10(t *testing.T) {
	target := httptest.NewServer(listens(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"n":1}`)
		flush(w)
		panic(http.ErrAbortHandler)
	}))
	defer target.Close()
	target.Config.ErrorLog = log.New(io.Discard, "", 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := api.New(api.Deps{
		Inventory: &inventory{snapshot: tiny()},
		Upstream:  func() (core.Upstream, error) { return core.Upstream{URL: target.URL}, nil },
		Probe:     func(context.Context) error { return nil },
	}, api.Options{MaxBody: 1 << 20}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- server.Run(ctx, listener) }()
	defer func() { cancel(); <-done }()

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/chat HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(asksTiny), asksTiny)
	if answer, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the caller sees %q, %v", answer, err)
	}
}

func TestWhatLoadsOrUnloadsHasTheTargetLookedAt(t *testing.T) {
	for body, looks := range map[string]bool{
		`{"model":"tiny","keep_alive":0}`:                true, // stop
		`{"model":"TINY","prompt":"","keep_alive":"5m"}`: true,
		`{"model":"tiny"}`:                               false, // it is resident
		`{"model":"other"}`:                              true,  // it isn't
	} {
		var got string
		f := start(t, after(tiny(), sees(time.Now(), []core.Model{named("tiny:latest"), named("other:latest")},
			[]core.Resident{{Name: "tiny:latest", Raw: []byte(`{}`)}})),
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				got = string(b)
				fmt.Fprint(w, `{"done":true}`)
			}))
		f.do("POST", "/api/generate", body).says(t, 200, `{"done":true}`)
		f.get("/api/ps")
		rechecks, nudges := f.asked()
		if got != body || (nudges > 0) != looks || (rechecks > 0) != looks {
			t.Errorf("%s: %d looks, and %d that ps waits for; the target got %s", body, nudges, rechecks, got)
		}
	}
}

// ps of a stream that loaded its model doesn't wait for the stream's end, when
// keep_alive may have unloaded it again.
func TestResidencyIsLookedAtWhenAStreamBeginsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(named("tiny:latest")), listens(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "{}")
			flush(w)
			time.Sleep(time.Minute)
		}))
		resp, err := f.chat()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, early := f.asked()
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, late := f.asked(); early == 0 || late == early {
			t.Errorf("%d looks at its beginning, %d by its end", early, late)
		}
	})
}

func TestLargeBodiesBothWays(t *testing.T) {
	const size = 24 << 20
	sent := `{"model":"tiny","images":["` + strings.Repeat("A", size) + `"]}`
	f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}), func(o *setup) { o.MaxBody = 64 << 20 })
	if got := f.do("POST", "/api/chat", sent); got.status != 200 || got.body != sent {
		t.Errorf("%d, %d of %d bytes", got.status, len(got.body), len(sent))
	}
}

// A picture may come over a slow link.
func TestALargeBodyMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), listens(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }),
			func(o *setup) { o.MaxBody = 64 << 20 })
		sent := `{"model":"tiny","images":["` + strings.Repeat("A", 10<<20) + `"]}`
		conn := f.dial()
		defer conn.Close()
		go func() {
			_, err := fmt.Fprintf(conn, "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(sent))
			for part := range slices.Chunk([]byte(sent), 1<<20) {
				time.Sleep(5 * time.Second)
				if err == nil {
					_, err = conn.Write(part)
				}
			}
			if err != nil {
				t.Error(err)
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		read(t, resp).says(t, 200, "{}")
	})
}

func TestACallerWhoStopsReadingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		f := start(t, tiny(), listens(func(w http.ResponseWriter, r *http.Request) {
			flush(w)
			began := time.Now()
			for line := bytes.Repeat([]byte("x"), 1<<12); r.Context().Err() == nil; {
				if _, err := w.Write(line); err != nil {
					break
				}
			}
			ended <- time.Since(began)
		}))
		resp, err := f.chat()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := <-ended; took < 45*time.Second || took > time.Minute {
			t.Errorf("the target is held for %v", took)
		}
	})
}

func TestManyStreamsAtATime(t *testing.T) {
	const streams, chunks = 200, 20
	all := make(chan struct{}) // closed when all are open
	open := atomic.Int32{}
	f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if open.Add(1) == streams {
			close(all)
		}
		<-all
		for i := range chunks {
			fmt.Fprintf(w, "{\"n\":%d}\n", i)
			flush(w)
		}
	}))
	var callers sync.WaitGroup
	for range streams {
		callers.Go(func() {
			resp, err := f.chat()
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			got := 0
			for ; lines.Scan(); got++ {
				if lines.Text() != fmt.Sprintf("{\"n\":%d}", got) {
					t.Errorf("chunk %d is %s", got, lines.Text())
				}
			}
			if got != chunks || lines.Err() != nil {
				t.Errorf("cut after %d chunks: %v", got, lines.Err())
			}
		})
	}
	callers.Wait()
}
