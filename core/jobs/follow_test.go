package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// counts is a target that needs a second for each of its n pieces.
func counts(n int) func(context.Context, core.Work, core.Sink) error {
	return func(ctx context.Context, _ core.Work, sink core.Sink) error {
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
		sink.Begin(200, "text/plain")
		for i := range n {
			if err := wait(ctx, time.Second); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(sink, "%d ", i); err != nil {
				return err
			}
		}
		return nil
	}
}

// A reader follows a job and writes down what it is told: states, and "offset:chunk".
type reader struct {
	told []string
	err  error
	done bool
}

// follow reads each piece of news for that long.
func follow(ctx context.Context, r *room, id string, reads time.Duration) *reader {
	f := new(reader)
	go func() {
		for news, err := range r.Follow(ctx, id) {
			switch {
			case err != nil:
				f.err = err
			case news.Job != nil:
				text := string(news.Job.State)
				if news.Job.Position != nil {
					text += fmt.Sprint(" ", *news.Job.Position)
				}
				f.told = append(f.told, text)
			default:
				f.told = append(f.told, fmt.Sprintf("%d:%s", news.Offset, news.Chunk))
			}
			time.Sleep(reads) // in the bubble
		}
		f.done = true
	}()
	synctest.Wait()
	return f
}

func (f *reader) String() string { return strings.Join(f.told, ", ") }

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(counts(3))
		before := r.submit("b")
		after(100 * time.Millisecond)
		r.submit("a")
		id := r.submit("a")
		first := follow(t.Context(), r, id, 0)
		after(4 * time.Second) // that one is done
		r.expect(before, core.JobDone)
		after(7400 * time.Millisecond)
		joined := follow(t.Context(), r, id, 0)
		slow := follow(t.Context(), r, id, time.Minute)
		after(time.Hour)
		late := follow(t.Context(), r, id, 0)
		for name, c := range map[string]struct {
			*reader
			want string
		}{
			"from the start":   {first, "queued 2, queued 1, loading, working, 0:0 , 2:1 , 4:2 , done"},
			"in the middle":    {joined, "working, 0:0 1 , 4:2 , done"},
			"slow":             {slow, "working, 0:0 1 2 , done"},
			"after its end":    {late, "done"},
			"what isn't there": {follow(t.Context(), r, "none", 0), ""},
		} {
			if c.String() != c.want || !c.done {
				t.Errorf("%s: over %t; told %s, want %s", name, c.done, c, c.want)
			}
			if (name == "what isn't there") != errors.Is(c.err, core.ErrNoJob) {
				t.Errorf("%s: %v", name, c.err)
			}
		}
	})
}

func TestFollowAnotherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(func(ctx context.Context, w core.Work, sink core.Sink) error {
			if err := counts(2)(ctx, w, sink); err != nil {
				return err
			}
			r.answers(counts(1))
			return &core.Fault{Reason: core.ReasonReset, Detail: "reset"}
		})
		r.turns.take()
		id := r.submit("a")
		f := follow(t.Context(), r, id, 0)
		after(time.Minute)
		r.turns.give()
		after(time.Minute)
		const want = "queued 1, loading, working, 0:0 , 2:1 , queued 1, loading, working, 0:0 , done"
		if f.String() != want || f.err != nil {
			t.Errorf("told %s, want %s; %v", f, want, f.err)
		}
	})
}

// TestFollowSlowly: what a chunk belongs to is told before it.
func TestFollowSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(counts(10))
		id := r.submit("a")
		after(500 * time.Millisecond)
		f := follow(t.Context(), r, id, 2*time.Second)
		after(time.Minute)
		if want := "loading, working, 0:0 1 2 "; !strings.HasPrefix(f.String(), want) {
			t.Errorf("told %s, want %s", f, want)
		}
	})
}

func TestFollowersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		r.answers(counts(100))
		id := r.submit("a")
		ctx, cancel := context.WithCancel(t.Context())
		f := follow(ctx, r, id, 0)
		after(10 * time.Second)
		for news := range r.Follow(t.Context(), id) {
			if news.Chunk != nil {
				break
			}
		}
		cancel()
		synctest.Wait()
		if !f.done || !errors.Is(f.err, context.Canceled) {
			t.Errorf("over %t, %v", f.done, f.err)
		}
		if r.Followed() != 1 { // by its worker
			t.Errorf("%d jobs are followed", r.Followed())
		}
		after(time.Hour)
		if r.Followed() != 0 {
			t.Errorf("%d jobs are followed in the end", r.Followed())
		}
	})
}

// TestFollowersShareTheAnswer: however many read, nobody's bytes are altered.
func TestFollowersShareTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		const pieces = 2000
		r.answers(counts(pieces))
		id := r.submit("a")
		all := make([]bytes.Buffer, 8)
		for i := range all {
			go func() {
				for news, err := range r.Follow(t.Context(), id) {
					if err != nil || news.Chunk != nil && news.Offset != int64(all[i].Len()) {
						t.Errorf("at %d of %d, %v", all[i].Len(), news.Offset, err)
					}
					all[i].Write(news.Chunk)
					time.Sleep(time.Duration(i*i) * time.Second)
				}
			}()
		}
		after((pieces + 200) * time.Second)
		result, err := r.Result(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if !bytes.Equal(all[i].Bytes(), result.Body) {
				t.Errorf("reader %d has %d bytes of %d, or others", i, all[i].Len(), len(result.Body))
			}
		}
	})
}
