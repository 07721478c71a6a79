package host

import (
	"log/slog"
	"strings"
	"sync"
)

const (
	tailLines = 5
	tailWidth = 500 // bytes of a line
)

// A tail logs what a plugin writes to stderr, a line at a time, and keeps the
// last lines for the error of a failed start. go-plugin writes to it from one
// goroutine, a line or a part of one at a time.
type tail struct {
	log *slog.Logger

	mu      sync.Mutex
	partial []byte   // of the line being written, at most tailWidth
	lines   []string // at most tailLines
}

// Write implements [io.Writer]. It never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range p {
		switch {
		case b == '\n':
			t.endLine()
		case len(t.partial) < tailWidth:
			t.partial = append(t.partial, b)
		}
	}
	return len(p), nil
}

func (t *tail) endLine() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(t.partial), "\uFFFD"))
	t.partial = t.partial[:0]
	if line == "" {
		return
	}
	t.log.Info("plugin wrote to stderr", "line", line)
	if t.lines = append(t.lines, line); len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

// said is the last lines as the end of an error, or "".
func (t *tail) said() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return ""
	}
	return "; it wrote: " + strings.Join(t.lines, " | ")
}
