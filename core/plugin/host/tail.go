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

// A tail is the last lines that a plugin wrote, for the error of a failed
// start.
type tail struct {
	mu    sync.Mutex
	lines []string // at most tailLines
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

// String is the lines as the end of an error, or "".
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return ""
	}
	return "; it wrote: " + strings.Join(t.lines, " | ")
}

// A lineLog logs one output of a plugin, a line at a time, and adds each to
// the tail. One goroutine writes to it.
type lineLog struct {
	log     *slog.Logger
	tail    *tail
	partial []byte // of the line being written, at most tailWidth
}

// Write implements [io.Writer]. It never fails.
func (l *lineLog) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == '\n':
			l.endLine()
		case len(l.partial) < tailWidth:
			l.partial = append(l.partial, b)
		}
	}
	return len(p), nil
}

func (l *lineLog) endLine() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(l.partial), "\uFFFD"))
	l.partial = l.partial[:0]
	if line == "" {
		return
	}
	l.log.Info("plugin wrote to stderr", "line", line)
	l.tail.add(line)
}
