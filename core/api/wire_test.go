package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/api"
)

// A parrot is a target that says the same to each request, whole, and then
// hangs up or waits for the next.
type parrot struct {
	text    string
	hangsUp bool
	dials   int
	hungUp  chan struct{} // for each connection that its caller closed
}

func newParrot(text string, hangsUp bool) *parrot {
	return &parrot{text: text, hangsUp: hangsUp, hungUp: make(chan struct{}, 10)}
}

func (p *parrot) dial() (net.Conn, error) {
	p.dials++
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		for in := bufio.NewReader(server); ; {
			req, err := http.ReadRequest(in)
			if err != nil {
				p.hungUp <- struct{}{}
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if _, err := io.WriteString(server, p.text); err != nil || p.hangsUp {
				return
			}
		}
	}()
	return client, nil
}

// small is a request of the kind that goes over a wire.
func small(ctx context.Context) *http.Request {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://ollama.test/api/chat", strings.NewReader(asksTiny))
	if err != nil {
		panic(err)
	}
	return req
}

// told is all that an exchange tells.
type told struct {
	Status          int
	Header, Trailer http.Header
	Length          int64
	Body            string
	Failed, Broken  bool // before the header's end, or after
}

func ask(over http.RoundTripper) told {
	resp, err := over.RoundTrip(small(context.Background()))
	if err != nil {
		return told{Failed: true}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return told{resp.StatusCode, resp.Header, resp.Trailer, resp.ContentLength, string(body), false, err != nil}
}

// Bytes mean what they mean to net/http's own client.
func FuzzWireReadsAsTransportDoes(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n3;x=y\r\n{}\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Late: yes\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\n\r\nto the end", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 204 No Content\r\n\r\n{}", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 7) + "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "HTTP/1.1 200 OK\nX: y\n\nz",
		"HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/3.0 200\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX: y", "\r\n", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, " 101") {
			t.Skip("net/http makes a tunnel of the connection")
		}
		theirs := &http.Transport{
			DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return newParrot(text, true).dial() },
		}
		ours := api.NewWires(newParrot(text, true).dial, nil)
		defer ours.CloseIdleConnections()
		want := ask(theirs)
		if want.Status < 200 { // it has no such thing as a final status
			want = told{Failed: true}
		}
		if diff := cmp.Diff(want, ask(ours)); diff != "" {
			t.Errorf("%q (-theirs +ours):\n%s", text, diff)
		}
	})
}

func TestWhichConnectionsServeAgain(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for text, again := range map[string]bool{
		ok + "Content-Length: 2\r\n\r\n{}":                                               true,
		ok + "Content-Length: 0\r\n\r\n":                                                 true,
		ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n":                    true,
		ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Late: yes\r\n\r\n":                true,
		"HTTP/1.1 204 No Content\r\n\r\n":                                                true,
		"HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 2\r\n\r\n{}":             true,
		"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}":                                 true,
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}":                                 false,
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}":       true,
		ok + "Connection: close\r\nContent-Length: 2\r\n\r\n{}":                          false,
		ok + "Content-Length: 2\r\n\r\n{}HTTP/1.1 200 for somebody else":                 false,
		"HTTP/1.1 204 No Content\r\n\r\n{}":                                              false,
		ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n": false,
		ok + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n":                            false,
		ok + "Content-Length: nonsense\r\n\r\n":                                          false,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n":                         false,
	} {
		target := newParrot(text, false)
		wires := api.NewWires(target.dial, nil)
		first, second := ask(wires), ask(wires)
		if diff := cmp.Diff(first, second); diff != "" || again != (target.dials == 1) {
			t.Errorf("%q: %d connections for two requests, whose answers differ by %s", text, target.dials, diff)
		}
		wires.CloseIdleConnections()
		for range target.dials {
			<-target.hungUp
		}
	}
}

func TestAConnectionWhoseAnswerIsNotReadIsClosed(t *testing.T) {
	target := newParrot("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false)
	wires := api.NewWires(target.dial, nil)
	resp, err := wires.RoundTrip(small(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = resp.Body.Read(make([]byte, 1))
	resp.Body.Close()
	<-target.hungUp
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes of a closed body, %v", n, err)
	}
}

func TestIdleConnectionsToTheTargetAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := newParrot("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false)
		wires := api.NewWires(target.dial, nil)
		first, err := wires.RoundTrip(small(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		ask(wires)
		time.Sleep(10 * time.Second)
		_, _ = io.Copy(io.Discard, first.Body) // two are idle, of different age
		began := time.Now()
		for _, want := range []time.Duration{5 * time.Second, 15 * time.Second} {
			<-target.hungUp
			if took := time.Since(began); took != want {
				t.Errorf("closed after %v, not %v", took, want)
			}
		}
		ask(wires)
		wires.CloseIdleConnections()
		<-target.hungUp
	})
}

// A request is sent again only if it went over a connection that had served
// before, and nothing came back.
func TestWhatIsSentAgain(t *testing.T) {
	const whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	for answers, want := range map[[3]string]struct {
		status, dials int
	}{
		{"", whole}:           {0, 1},
		{whole, "", whole}:    {200, 2},
		{whole, "", ""}:       {0, 2},
		{whole, "HTTP/1.1 2"}: {0, 1},
	} {
		asked, dials := 0, 0
		wires := api.NewWires(func() (net.Conn, error) {
			dials++
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				for in := bufio.NewReader(server); ; {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					answer := answers[asked]
					asked++
					if _, err := io.WriteString(server, answer); err != nil || answer != whole {
						return
					}
				}
			}()
			return client, nil
		}, nil)
		got := ask(wires)
		if answers[0] == whole {
			got = ask(wires)
		}
		if got.Status != want.status || dials != want.dials {
			t.Errorf("%q: %d over %d connections, want %v", answers, got.Status, dials, want)
		}
		wires.CloseIdleConnections()
	}
}

// What a target says before it is asked isn't the answer: some say so that
// they are tired of waiting.
func TestAnIdleConnectionThatSpeaksOrEndsIsNotUsed(t *testing.T) {
	for _, unasked := range []string{"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", ""} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		spoke, requests, dials := make(chan struct{}), 0, 0
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				requests++
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
				<-spoke
				_, _ = io.WriteString(conn, unasked)
				conn.Close()
				spoke <- struct{}{}
			}
		}()
		wires := api.NewWires(func() (net.Conn, error) {
			dials++
			return net.Dial("tcp", listener.Addr().String())
		}, nil)
		for range 2 {
			if got := ask(wires); got.Status != 200 {
				t.Errorf("%q is taken for the answer: %+v", unasked, got)
			}
			spoke <- struct{}{}
			<-spoke
		}
		if requests != 2 || dials != 2 {
			t.Errorf("%q: %d requests over %d connections", unasked, requests, dials)
		}
		wires.CloseIdleConnections()
		listener.Close()
	}
}

func TestALongHeaderIsRefusedAndALongBodyIsNot(t *testing.T) {
	for size, refused := range map[int]bool{60 << 10: false, 66 << 10: true} {
		long := strings.Repeat("x", size)
		body := strings.Repeat("y", 1<<20)
		target := newParrot(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Long: %s\r\nContent-Length: %d\r\n\r\n%s", long, len(body), body), true)
		got := ask(api.NewWires(target.dial, nil))
		if got.Failed != refused || !refused && (got.Header.Get("X-Long") != long || got.Body != body) {
			t.Errorf("%d: failed %v, %d bytes", size, got.Failed, len(got.Body))
		}
	}
}

// The error of an exchange says who ended it.
func TestAnExchangeEndsWithItsContext(t *testing.T) {
	why := errors.New("the reason")
	for text, when := range map[string]string{
		"":                                "before the answer",
		"HTTP/1.1 200 OK\r\nContent-Len":  "in its header",
		"HTTP/1.1 200 OK\r\nX: y\r\n\r\n": "before its body",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n": "in its body",
	} {
		synctest.Test(t, func(t *testing.T) {
			target := newParrot(text, false)
			wires := api.NewWires(target.dial, nil)
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(why) })
			resp, err := wires.RoundTrip(small(ctx))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if !errors.Is(err, why) {
				t.Errorf("%s: %v", when, err)
			}
			<-target.hungUp
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	wires := api.NewWires(func() (net.Conn, error) { return nil, refused }, nil)
	if _, err := wires.RoundTrip(small(ctx)); !errors.Is(err, why) {
		t.Errorf("while dialing: %v", err)
	}
	if _, err := wires.RoundTrip(small(t.Context())); !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestWhatDoesNotGoOverAWire(t *testing.T) {
	elsewhere := errors.New("sent elsewhere")
	for url, body := range map[string]io.Reader{
		"https://ollama.test/": strings.NewReader("{}"),
		"http://ollama.test/a": strings.NewReader(strings.Repeat(" ", 16<<10+1)), // may be answered before it is sent
		"http://ollama.test/b": io.LimitReader(strings.NewReader("{}"), math.MaxInt),
		"http://ollama.test/c": nil,
		"http://öllama.test/":  strings.NewReader("{}"), // its name on the wire is another
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", url, body)
		if err != nil {
			t.Fatal(err)
		}
		wires := api.NewWires(func() (net.Conn, error) { return nil, refused },
			roundTripper(func(*http.Request) (*http.Response, error) { return nil, elsewhere }))
		if _, err := wires.RoundTrip(req); !errors.Is(err, elsewhere) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
