package api

import (
	"bytes"
	"context"
	"iter"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/seed-af7fee88/foreman/core"
)

// maxFollowers is how many may follow jobs at a time; see [places].
const maxFollowers = 256

// The frames of GET /jobs/{id}/events.
const (
	stateFrame = "state" // the job
	chunkFrame = "chunk" // [jobChunk]
)

// jobChunk is a part of the target's answer.
type jobChunk struct {
	Offset int64  `json:"offset"` // bytes; 0 again if another attempt begins
	Text   string `json:"text"`
}

// chunkSize is how much of an answer a frame has at most.
const chunkSize = 64 << 10

// jobEvents answers GET /jobs/{id}/events: server-sent events, the first with
// what the job is, then its changes and its answer as they come, until it has
// ended. One whose place another gets ends before that: its caller comes
// again, and is told what the job is by then and its answer from the beginning.
// One that has seen the end and comes again, as browsers do by themselves, is
// answered 204, after which they don't.
func (s *service) jobEvents(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	news := ListenTo(ctx, s.deps.Jobs.Follow(ctx, jobID(r)))
	defer func() {
		cancel()
		for range news { // until its goroutine has ended
		}
	}()
	first, ok := <-news
	if !ok {
		return ctx.Err()
	}
	if first.Err != nil {
		return first.Err
	}
	if seen := r.Header.Get("Last-Event-ID"); seen != "" && seen == endID(*first.Job) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	beginEvents(w)
	if r.Method == http.MethodHead {
		return nil
	}
	f := &jobFollower{service: s, w: w, r: r, place: s.followers.take(r, s.holderOf(r))}
	defer s.followers.leave(f.place)
	if f.tell(first.JobNews) {
		f.follow(news)
	}
	return nil
}

// News is what is new of a job, or why there is no more.
type News struct {
	core.JobNews
	Err error
}

// ListenTo has all of news until ctx ends; then, and after the last of it, it
// closes. It is over when the channel has been closed: whoever ends ctx before
// reads on until then.
func ListenTo(ctx context.Context, news iter.Seq2[core.JobNews, error]) <-chan News {
	to := make(chan News)
	go func() {
		defer close(to)
		for n, err := range news {
			select {
			case to <- News{n, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return to
}

// A jobFollower writes news to a caller.
type jobFollower struct {
	*service
	w     http.ResponseWriter
	r     *http.Request
	place *place

	cut []byte // the beginning of a character that the last chunk ended in
	at  int64  // where in the answer cut begins
}

// follow writes news until one of the two sides has enough.
func (f *jobFollower) follow(news <-chan News) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for ok := true; ok; {
		select {
		case n, more := <-news:
			if n.Err != nil && f.r.Context().Err() == nil {
				f.log.Warn("a job can't be followed any more", "job", jobID(f.r), "error", n.Err)
			}
			ok = more && n.Err == nil && f.tell(n.JobNews)
		case <-beat.C:
			ok = f.write([]byte(":\n\n"))
		case <-f.r.Context().Done():
			return
		case <-f.place.conn.stops:
			return
		case <-f.place.lost:
			return
		}
	}
}

// endID is the ID of the frame that tells the end of job; "" if it hasn't
// ended. The end after a retry has another.
func endID(job core.Job) string {
	if !job.State.Ended() || job.EndedAt == nil {
		return ""
	}
	return job.EndedAt.UTC().Format(time.RFC3339Nano)
}

// tell writes news, and reports whether the caller wants more.
func (f *jobFollower) tell(n core.JobNews) bool {
	if n.Job != nil {
		return f.flushCut() && f.write(appendFrame(nil, endID(*n.Job), stateFrame, tellable(*n.Job)))
	}
	if n.Offset != f.at+int64(len(f.cut)) { // another attempt
		if !f.flushCut() {
			return false
		}
		f.at = n.Offset
	}
	text := append(f.cut, n.Chunk...)
	for len(text) > 0 {
		whole := wholeText(text[:min(len(text), chunkSize)])
		if whole == 0 {
			break
		}
		if !f.write(f.chunk(text[:whole])) {
			return false
		}
		text = text[whole:]
	}
	f.cut = bytes.Clone(text)
	return true
}

// flushCut gives up on the rest of a character.
func (f *jobFollower) flushCut() bool {
	text := f.cut
	f.cut = nil
	return len(text) == 0 || f.write(f.chunk(text))
}

func (f *jobFollower) chunk(text []byte) []byte {
	frame := appendFrame(nil, "", chunkFrame, jobChunk{f.at, string(text)})
	f.at += int64(len(text))
	return frame
}

// write reports whether the caller takes it, and may.
func (f *jobFollower) write(frames []byte) bool {
	return f.current.Load().guard.check(f.r) == nil && f.place.write(f.w, frames)
}

// wholeText is how much of text there is without a character that has only
// begun: a chunk may end anywhere, and JSON has no word for half of one.
func wholeText(text []byte) int {
	for i := len(text) - 1; i >= max(0, len(text)-utf8.UTFMax); i-- {
		if utf8.RuneStart(text[i]) {
			if utf8.FullRune(text[i:]) {
				break
			}
			return i
		}
	}
	return len(text)
}
