package sim

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Fault answers a request in place of the simulated Ollama. The request's
// context ends when the caller leaves, and at [Server.Close].
//
// Faults aren't test code, since the tests and benchmarks of many packages
// share them, and since they take place within the server: it counts the
// requests that they answer, and waits for them when it closes.
type Fault func(w http.ResponseWriter, r *http.Request)

// script is what a test told the server to do, and what it saw. The server's
// mutex guards it.
type script struct {
	requests map[string]int
	once     map[string][]Fault // each answers one request
	always   map[string]Fault
}

const anyPath = "*"

func newScript() script {
	return script{
		requests: make(map[string]int),
		once:     make(map[string][]Fault),
		always:   make(map[string]Fault),
	}
}

// next counts a request and returns the fault that is to answer it, or nil.
func (sc *script) next(path string) Fault {
	sc.requests[path]++
	for _, key := range []string{path, anyPath} {
		if queue := sc.once[key]; len(queue) > 0 {
			sc.once[key] = queue[1:]
			return queue[0]
		}
	}
	if f := sc.always[path]; f != nil {
		return f
	}
	return sc.always[anyPath]
}

// Requests is how many requests path got, answered by a fault or not.
func (s *Server) Requests(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script.requests[path]
}

// Fail lets f give every later answer of path; "*" means every path.
func (s *Server) Fail(path string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script.always[path] = f
}

// FailNext lets f give the next n answers of path, or with "*" of any path.
// It comes before [Server.Fail].
func (s *Server) FailNext(path string, n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.script.once[path] = append(s.script.once[path], f)
	}
}

// Heal ends all faults for requests that come later.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.script.once)
	clear(s.script.always)
}

// Status answers with an HTTP status; a body that starts like a JSON object
// is sent as JSON.
func Status(code int, body string) Fault {
	contentType := "text/plain"
	if strings.HasPrefix(body, "{") {
		contentType = jsonType
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// Body answers 200 with exactly these bytes.
func Body(contentType string, body []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Write(body)
	}
}

// Hang takes the request and never answers it.
func Hang() Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // before that net/http doesn't notice a caller that leaves
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// Reset breaks the connection, by RST where it is TCP, before any answer.
func Reset() Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
}

// Truncate declares the whole body, sends n bytes of it, and cuts the
// connection.
func Truncate(body []byte, n int) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		newStream(w, jsonType).send(body[:min(n, len(body))])
		panic(http.ErrAbortHandler)
	}
}

// Drip sends body in chunks, with a pause before each.
func Drip(body []byte, chunk int, every time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		drops := newStream(w, jsonType)
		for rest := body; len(rest) > 0; {
			n := min(max(1, chunk), len(rest))
			if sleep(r.Context(), every) != nil || drops.send(rest[:n]) != nil {
				return
			}
			rest = rest[n:]
		}
	}
}

// GzipBomb answers with a gzipped list of models that inflates to that many
// bytes, and to 1 KiB at least.
func GzipBomb(inflated int64) Fault {
	const head, tail = `{"models":[`, `]}`
	entry := []byte(`{"name":"bomb:latest","model":"bomb:latest","size":1,"digest":"00"},`)
	block := bytes.Repeat(entry, 1<<20/len(entry))
	last := entry[:len(entry)-1]

	rest := max(inflated, 1024) - int64(len(head)+len(last)+len(tail))
	blocks := rest / int64(len(block))
	rest -= blocks * int64(len(block))
	entries := bytes.Repeat(entry, int(rest)/len(entry))
	spaces := bytes.Repeat([]byte{' '}, int(rest)%len(entry))

	// A gzip file may have many members, so that one block is compressed once
	// and sent as often as it takes.
	first, middle := gzipped([]byte(head)), gzipped(block)
	end := gzipped(entries, last, spaces, []byte(tail))
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(first)
		for range blocks {
			if _, err := w.Write(middle); err != nil {
				return
			}
		}
		w.Write(end)
	}
}

func gzipped(parts ...[]byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	for _, part := range parts {
		z.Write(part) // to memory: it can't fail
	}
	z.Close()
	return out.Bytes()
}

// Redirect answers 302 to a path or URL.
func Redirect(to string) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to, http.StatusFound)
	}
}
