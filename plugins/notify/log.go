package notify

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

const (
	// linePause is between two lines: of what a plugin writes foreman logs at
	// most 100 lines a second. That is half as many, for they may bunch on
	// their way.
	linePause = 20 * time.Millisecond
	// logLine is how much of an event is a line, in bytes. With the ellipsis it
	// is less than the 4 KiB of which foreman drops the rest.
	logLine = 4000
)

// A stderrLog writes each event as a line on stderr, which foreman logs under
// the notifier's name.
type stderrLog struct {
	out io.Writer

	mu   sync.Mutex
	next time.Time // when another line may be written
}

func (*stderrLog) Configure(_ context.Context, settings json.RawMessage) error {
	return plugin.Decode(settings, new(table))
}

// Notify waits for its turn: a line that foreman doesn't log isn't delivered.
func (l *stderrLog) Notify(ctx context.Context, event core.Event) error {
	turn := time.NewTimer(l.wait())
	defer turn.Stop()
	select {
	case <-turn.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := io.WriteString(l.out, core.OneLine(string(event.Type)+": "+event.Sentence, logLine)+"\n")
	return err
}

// wait takes the next turn, and returns how long that is from now.
func (l *stderrLog) wait() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := max(0, time.Until(l.next))
	l.next = time.Now().Add(wait + linePause)
	return wait
}
