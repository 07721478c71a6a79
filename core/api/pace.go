package api

import (
	"net/http"
	"time"
)

// A caller who sends or takes nothing for this long is cut off, so that none
// holds a connection, or a list that has been superseded, for ever.
const (
	// bodyTimeout is for sending a whole body; manage lifts it. It is the
	// shorter one, since net/http drains a body before it sends the answer.
	bodyTimeout = 20 * time.Second
	// mebibyteTimeout is what a caller gets besides for each MiB that it
	// announces, but no more than longestBody: pictures come over slow links.
	mebibyteTimeout = 4 * time.Second
	longestBody     = 64 // MiB
	// strayTimeout is for a body that nobody will read: a GET's, that of a
	// caller who isn't let in, or what has no route.
	strayTimeout = time.Second
	// pieceTimeout is for taking one piece of an answer. Each piece costs a
	// system call; a list of 10,000 models is one.
	pieceTimeout = time.Minute
	pieceSize    = 4 << 20
)

// pacedWriter bounds each write, however long the whole answer takes.
// http.Server's own WriteTimeout would cut streams.
type pacedWriter struct {
	http.ResponseWriter
	control http.ResponseController
	renew   time.Time // when the deadline is due to be put off
}

// pace bounds what the caller of r may take its time with.
func pace(w http.ResponseWriter, r *http.Request) *pacedWriter {
	paced := &pacedWriter{ResponseWriter: w, control: *http.NewResponseController(w)}
	if r.ContentLength != 0 {
		mebibytes := max(0, min(r.ContentLength>>20, longestBody))
		allowed := bodyTimeout + time.Duration(mebibytes)*mebibyteTimeout
		_ = paced.control.SetReadDeadline(time.Now().Add(allowed)) // net/http lifts it at the body's end
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		paced.hurry(r)
	}
	return paced
}

// hurry leaves the caller little time for a body that nobody will read.
func (w *pacedWriter) hurry(r *http.Request) {
	if r.ContentLength != 0 {
		_ = w.control.SetReadDeadline(time.Now().Add(strayTimeout))
	}
}

// Unwrap lets an http.ResponseController flush.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) WriteHeader(status int) {
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

func (w *pacedWriter) Write(p []byte) (written int, err error) {
	for {
		w.extend()
		n, err := w.ResponseWriter.Write(p[written:min(len(p), written+pieceSize)])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// extend is also due when a handler is done: net/http flushes after that.
// It costs a microsecond, so a stream's chunks share one.
func (w *pacedWriter) extend() {
	now := time.Now()
	if now.Before(w.renew) {
		return
	}
	w.renew = now.Add(pieceTimeout / 4)
	_ = w.control.SetWriteDeadline(now.Add(pieceTimeout)) // fails only where there is no connection
}
