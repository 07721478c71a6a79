package host

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	tailLines = 5
	tailWidth = 500     // bytes of a line in it
	lineWidth = 4 << 10 // bytes of a line in the log
	lineRate  = 100     // lines a second of one output that are logged
)

// A tail is the last lines that a plugin wrote, for the error of a failed
// start.
type tail struct {
	mu    sync.Mutex
	lines []string // at most tailLines
}

func (t *tail) add(line string) {
	line = core.OneLine(line, tailWidth)
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
// the tail. Of what comes faster than lineRate it logs how much that was. One
// goroutine writes to it.
type lineLog struct {
	log     *slog.Logger
	tail    *tail
	partial []byte // of the line being written, at most lineWidth

	mu      sync.Mutex
	since   time.Time // when this second began
	lines   int       // in this second
	dropped int       // of them
}

// Write implements [io.Writer]. It never fails.
func (l *lineLog) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == '\n':
			l.endLine()
		case len(l.partial) < lineWidth:
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
	l.tail.add(line)
	if l.admit(time.Now()) {
		l.log.Info(line) // the plugin's own words: it is among the attributes
	}
}

// admit counts a line, and reports whether it is one to log.
func (l *lineLog) admit(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= time.Second {
		l.since, l.lines = now, 0
	}
	if l.lines++; l.lines <= lineRate {
		return true
	}
	if l.dropped++; l.dropped == 1 {
		time.AfterFunc(l.since.Add(time.Second).Sub(now), l.tellDropped)
	}
	return false
}

func (l *lineLog) tellDropped() {
	l.mu.Lock()
	dropped := l.dropped
	l.dropped = 0
	l.mu.Unlock()
	l.log.Warn("plugin writes too much to stderr", "dropped", dropped)
}
