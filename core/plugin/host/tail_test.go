package host_test

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNoisyPluginStillAnswers(t *testing.T) {
	for _, c := range []struct{ behaviour, task string }{{"poison", ""}, {"good", "long line"}, {"good", "flood"}} {
		t.Run(c.behaviour+c.task, func(t *testing.T) {
			p, _, _ := started(t, c.behaviour, c.task, silent)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for range 2 {
				if version, err := p.Probe(ctx); version != "1.2.3" || err != nil {
					t.Fatalf("Probe: %q, %v", version, err)
				}
			}
		})
	}
}

func TestWhatAPluginWritesIsLogged(t *testing.T) {
	var log lockedBuffer
	p, _, _ := started(t, "good", "late words", slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := p.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"said on os.Stderr", "said on the first stderr", "said on os.Stdout"} {
		log.waitFor(t, `msg="`+want+`" plugin=fake`)
	}
}

// A line may be long, such as an event's: 4 KiB of it are logged.
func TestLongLinesAreLogged(t *testing.T) {
	var log lockedBuffer
	p, _, _ := started(t, "good", "long words", slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := p.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.waitFor(t, `so so it ends here" plugin=fake`)
	log.waitFor(t, strings.Repeat("and ", 1023)+`and" plugin=fake`)
}

// Of a flood some lines are logged, and the number of the others.
func TestFloodIsCounted(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	p, _, _ := started(t, "good", "flood", slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := p.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	var logged, dropped int
	log.waitUntil(t, "all 20,000 lines are logged or counted", func(all string) bool {
		logged, dropped = strings.Count(all, "this is line"), 0
		for _, m := range droppedLines.FindAllStringSubmatch(all, -1) {
			n, _ := strconv.Atoi(m[1])
			dropped += n
		}
		return logged+dropped == 20_000
	})
	if logged > 2_000 {
		t.Errorf("%d lines were logged", logged)
	}
}

var droppedLines = regexp.MustCompile(`plugin=fake dropped=([0-9]+)`)

// A lockedBuffer is a log that a test waits for.
type lockedBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	written chan struct{}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.written != nil {
		close(b.written)
		b.written = nil
	}
	return b.buf.Write(p)
}

// waitFor waits until text is in the log.
func (b *lockedBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	b.waitUntil(t, text, func(all string) bool { return strings.Contains(all, text) })
}

func (b *lockedBuffer) waitUntil(t *testing.T, what string, is func(all string) bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		all := b.buf.String()
		if b.written == nil {
			b.written = make(chan struct{})
		}
		written := b.written
		b.mu.Unlock()
		if is(all) {
			return
		}
		select {
		case <-written:
		case <-timeout:
			t.Fatalf("not logged: %s\nbut:\n%s", what, all)
		}
	}
}
