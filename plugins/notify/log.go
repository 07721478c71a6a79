package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/seed-af7fee88/foreman/core"
)

// A stderrLog writes each event as a line on stderr, which foreman logs under
// the notifier's name.
type stderrLog struct {
	out io.Writer
}

func (*stderrLog) Configure(_ context.Context, settings json.RawMessage) error {
	return decode(settings, new(table))
}

func (l *stderrLog) Notify(_ context.Context, event core.Event) error {
	_, err := fmt.Fprintf(l.out, "%s: %s\n", event.Type, oneLine(event.Sentence))
	return err
}
