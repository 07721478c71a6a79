package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// A storyteller is a daemon that tells one story each time that it is asked
// for a job's events: jobs, bytes of its answer, pauses, and an error that
// ends it. The last story goes on for ever.
type storyteller struct {
	stories [][]any
	results []telling // likewise
}

type telling struct {
	body string
	err  error // after body
}

func (s *storyteller) JobEvents(ctx context.Context, _ string) iter.Seq2[core.JobNews, error] {
	story := s.stories[0]
	s.stories = s.stories[min(1, len(s.stories)-1):]
	return func(yield func(core.JobNews, error) bool) {
		offset := int64(0)
		for _, part := range story {
			more := true
			switch part := part.(type) {
			case core.Job:
				offset = 0 // each attempt's
				more = yield(core.JobNews{Job: &part}, nil)
			case string:
				more = yield(core.JobNews{Chunk: []byte(part), Offset: offset}, nil)
				offset += int64(len(part))
			case time.Duration:
				select {
				case <-time.After(part):
				case <-ctx.Done():
					yield(core.JobNews{}, ctx.Err())
					return
				}
			case error:
				yield(core.JobNews{}, part)
				return
			}
			if !more {
				return
			}
		}
	}
}

func (s *storyteller) Result(_ context.Context, _ string, to io.Writer) (int, error) {
	r := s.results[0]
	s.results = s.results[min(1, len(s.results)-1):]
	if _, err := io.WriteString(to, r.body); err != nil {
		return 0, err
	}
	return 200, r.err
}

var (
	queued  = core.Job{ID: "J", State: core.JobQueued, Model: "tiny", Path: "/api/generate"}
	working = core.Job{ID: "J", State: core.JobWorking, Model: "tiny", Path: "/api/generate"}
	done    = core.Job{ID: "J", State: core.JobDone, Model: "tiny", Path: "/api/generate", Status: 200}
	errAway = fmt.Errorf("%w on http://x: refused", api.ErrNoDaemon)
)

func says(text string) string {
	line, _ := json.Marshal(map[string]string{"response": text}) // text always encodes
	return string(line) + "\n"
}

// waited is what came of waiting for a job.
type waited struct {
	Stdout, Stderr string
	Took           time.Duration
}

func waitFor(t *testing.T, s *storyteller, flags answerFlags) (w waited, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		if flags.Timeout > 0 {
			bounded, cancel := context.WithTimeout(ctx, flags.Timeout)
			defer cancel()
			ctx = bounded
		}
		var out, words bytes.Buffer
		began := time.Now()
		e := &env{stdout: &out, stderr: &words, getenv: os.Getenv}
		err = (&waiter{env: e, answerFlags: flags, daemon: s}).wait(ctx, "J")
		w = waited{out.String(), words.String(), time.Since(began)}
	})
	return w, err
}

func TestWaitPrintsTheAnswer(t *testing.T) {
	all := says("Hello") + says(", world") + `{"response":"","done":true}` + "\n"
	for name, tt := range map[string]struct {
		stories [][]any
		results []telling
		flags   answerFlags
		want    waited
	}{
		"its text": {
			[][]any{{queued, 90 * time.Second, working, says("Hello"), done}}, []telling{{all, nil}}, answerFlags{},
			waited{Stdout: "Hello, world\n", Took: 90 * time.Second},
		},
		"its bytes": {
			[][]any{{done}}, []telling{{"\xff{", nil}}, answerFlags{Raw: true}, waited{Stdout: "\xff{"},
		},
		"all bytes, of a route without words": {
			[][]any{{core.Job{ID: "J", State: core.JobDone, Path: "/api/embed"}}}, []telling{{`{"response":"x"}`, nil}}, answerFlags{},
			waited{Stdout: `{"response":"x"}`},
		},
		"as it comes, though nobody follows all of it": {
			[][]any{{working, says("Hello"), done}}, []telling{{all, nil}}, answerFlags{Stream: true},
			waited{Stdout: "Hello, world\n"},
		},
		"through a restart, whole": {
			[][]any{{working, says("Hexx"), errAway}, {fmt.Errorf("%w: in another way", errAway)}, {errAway}, {queued, working, says("Hello"), done}}, []telling{{all, nil}}, answerFlags{},
			waited{Stdout: "Hello, world\n", Stderr: "foreman: warning: " + errAway.Error() + "; it is asked again\n", Took: 3 * time.Second},
		},
		"through a restart, as it comes": {
			[][]any{{working, says("Hel"), errAway}, {queued, working, says("Hello"), done}}, []telling{{all, nil}}, answerFlags{Stream: true},
			waited{Stdout: "Hello, world\n", Stderr: "foreman: warning: " + errAway.Error() + "; it is asked again\n", Took: time.Second},
		},
		"through another attempt": {
			[][]any{{working, says("Hexx"), queued, time.Minute, working, says("Hello"), done}}, []telling{{all, nil}}, answerFlags{Stream: true},
			waited{Stdout: "Hexx\nHello, world\n", Stderr: "the target has begun anew:\n", Took: time.Minute},
		},
		"after a broken result": {
			[][]any{{done}}, []telling{{all[:25], errAway}, {all, nil}}, answerFlags{},
			waited{Stdout: "Hello, world\n", Stderr: "foreman: warning: " + errAway.Error() + "; it is asked again\n", Took: time.Second},
		},
		"while others follow": {
			[][]any{{&api.Refusal{Status: 429, Sentence: "full"}}, {done}}, []telling{{all, nil}}, answerFlags{},
			waited{Stdout: "Hello, world\n", Stderr: "foreman: warning: full; it is asked again\n", Took: time.Second},
		},
		"which has no text": {
			[][]any{{done}}, []telling{{says(""), nil}}, answerFlags{},
			waited{Stderr: "job J is done; its answer has no text, --raw prints what there is\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := waitFor(t, &storyteller{tt.stories, tt.results}, tt.flags)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v; (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestWaitForNothing(t *testing.T) {
	failed := core.Job{ID: "J", State: core.JobFailed, Path: "/api/generate", Error: "model 'tiny' not found"}
	broken := &api.Refusal{Status: 500, Sentence: "internal error"}
	missing := &api.Refusal{Status: 404, Sentence: "no such job"}
	for name, tt := range map[string]struct {
		stories [][]any
		flags   answerFlags
		err     error
		want    waited
	}{
		"it fails":                  {[][]any{{queued, failed}}, answerFlags{}, errNo, waited{Stderr: "foreman: job J failed: model 'tiny' not found\n"}},
		"it fails in the middle":    {[][]any{{working, says("a"), failed}}, answerFlags{Stream: true}, errNo, waited{"a\n", "foreman: job J failed: model 'tiny' not found\n", 0}},
		"it is cancelled":           {[][]any{{core.Job{ID: "J", State: core.JobCancelled}}}, answerFlags{}, errNo, waited{Stderr: "foreman: job J was cancelled\n"}},
		"no daemon at first":        {[][]any{{errAway}}, answerFlags{Timeout: time.Minute}, api.ErrNoDaemon, waited{}},
		"no such job":               {[][]any{{missing}}, answerFlags{}, missing, waited{}},
		"it is gone after a crash":  {[][]any{{queued, errAway}, {missing}}, answerFlags{}, missing, waited{Stderr: "foreman: warning: " + errAway.Error() + "; it is asked again\n", Took: time.Second}},
		"a broken daemon at first":  {[][]any{{broken}}, answerFlags{}, broken, waited{}},
		"not let in after a crash":  {[][]any{{queued, errAway}, {api.ErrNotAllowed}}, answerFlags{}, api.ErrNotAllowed, waited{Stderr: "foreman: warning: " + errAway.Error() + "; it is asked again\n", Took: time.Second}},
		"it takes too long":         {[][]any{{queued, time.Hour, done}}, answerFlags{Timeout: time.Minute}, context.DeadlineExceeded, waited{Took: time.Minute}},
		"the daemon stays away":     {[][]any{{queued, errAway}, {errAway}}, answerFlags{Timeout: time.Minute}, context.DeadlineExceeded, waited{Stderr: "foreman: warning: " + errAway.Error() + "; it is asked again\n", Took: time.Minute}},
		"a broken daemon, for long": {[][]any{{queued, broken}, {broken}}, answerFlags{Timeout: 90 * time.Second}, context.DeadlineExceeded, waited{Stderr: "foreman: warning: internal error; it is asked again\n", Took: 90 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := waitFor(t, &storyteller{tt.stories, nil}, tt.flags)
			if diff := cmp.Diff(tt.want, got); !errors.Is(err, tt.err) || diff != "" {
				t.Errorf("%v, want %v; (-want +got):\n%s", err, tt.err, diff)
			}
		})
	}
}

func TestProgressIsDrawnInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		third, retried := queued, queued
		third.Position = new(3)
		due := time.Now().Add(5 * time.Second)
		retried.NotBefore, retried.Error = &due, "the target's words\x1b[2J"
		started := time.Now().Add(2400 * time.Millisecond)
		loads, works := working, working
		loads.State, loads.StartedAt, works.StartedAt = core.JobLoading, &started, &started
		s := &storyteller{[][]any{{
			third, 500 * time.Millisecond, errAway}, {
			500 * time.Millisecond, retried, 400 * time.Millisecond, loads, 1700 * time.Millisecond, works, says("Hello, world"), works, says("Hi"), done,
		}}, []telling{{says("Hello, world"), nil}}}
		var out, words bytes.Buffer
		e := &env{stdout: &out, stderr: &words, getenv: os.Getenv}
		w := &waiter{env: e, daemon: s, progress: progress{to: &words}}
		if err := w.wait(t.Context(), "J"); err != nil {
			t.Fatal(err)
		}
		var got []string
		drawn := strings.NewReplacer("\x1b[K\x1b[?7l", "", "\x1b[?7h", "", "\x1b[K", "").Replace(words.String())
		for line := range strings.SplitSeq(drawn, "\r") {
			if len(got) == 0 || got[len(got)-1] != line {
				got = append(got, line)
			}
		}
		want := []string{"",
			"asking the daemon",
			"queued 3rd for tiny",
			"foreman: warning: " + errAway.Error() + "; it is asked again\n",
			"waiting for the daemon",
			`queued for tiny, tried again in 3s (the target's words\x1b[2J)`,
			"loading tiny, 0s", "loading tiny, 1s",
			"tiny works, 1s", "tiny works, 1s, 28 B so far", "tiny works, 1s, 18 B so far",
			"",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// An answer and the progress share the screen.
func TestOnAScreenTheAnswerComesAsItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storyteller{[][]any{{working, says("a\x1b[2J"), time.Minute, says("b"), done}}, []telling{{says("a\x1b[2J") + says("b"), nil}}}
		var screen bytes.Buffer
		e := &env{stdout: &screen, stderr: &screen, getenv: os.Getenv}
		if err := (&waiter{env: e, daemon: s, screen: true, progress: progress{to: &screen}}).wait(t.Context(), "J"); err != nil {
			t.Fatal(err)
		}
		_, last, _ := strings.Cut(screen.String(), "tiny works\x1b[?7h")
		if want := "\r\x1b[Ka" + `\x1b[2J` + "b\n"; last != want {
			t.Errorf("%q, want %q", last, want)
		}
	})
}
