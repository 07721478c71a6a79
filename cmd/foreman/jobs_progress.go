package main

import (
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/seed-af7fee88/foreman/core"
)

// A progress is a line of a terminal that is drawn anew in its place. Without
// a terminal there is none.
type progress struct {
	to    io.Writer // nil: no terminal
	drawn bool
}

// draw shows text, cut off where the window ends.
func (p *progress) draw(text string) {
	if p.to == nil {
		return
	}
	fmt.Fprintf(p.to, "\r\x1b[K\x1b[?7l%s\x1b[?7h", printable(text))
	p.drawn = true
}

// clear leaves the line empty for what else is to be written.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.drawn = false
	}
}

// progressText says how far a job is, of whose answer so many bytes have come.
func progressText(job core.Job, answered int, now time.Time) string {
	since := ""
	if job.StartedAt != nil {
		since = ", " + seconds(now.Sub(*job.StartedAt))
	}
	switch {
	case job.ID == "":
		return "asking the daemon"
	case job.State == core.JobQueued && job.NotBefore != nil && job.NotBefore.After(now):
		return fmt.Sprintf("queued for %s, tried again in %s%s", job.Model, seconds(job.NotBefore.Sub(now)), inBrackets(job.Error))
	case job.State == core.JobQueued && job.Position != nil:
		return fmt.Sprintf("queued %s for %s", humanize.Ordinal(*job.Position), job.Model)
	case job.State == core.JobLoading:
		return "loading " + job.Model + since
	case job.State == core.JobWorking && answered > 0:
		return job.Model + " works" + since + ", " + size(int64(answered)) + " so far"
	case job.State == core.JobWorking:
		return job.Model + " works" + since
	default:
		return string(job.State)
	}
}

func seconds(d time.Duration) string { return max(0, d).Truncate(time.Second).String() }
