package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// frames are the next n frames, each as its name and the part of its data that
// matters.
func (s *stream) frames(n int) []string {
	s.t.Helper()
	var frames []string
	for range n {
		frame := strings.TrimSpace(s.frame())
		frame = strings.Replace(strings.TrimPrefix(frame, "event: "), "\ndata: ", " ", 1)
		if _, rest, ok := strings.Cut(frame, `"state":"`); ok {
			state, _, _ := strings.Cut(rest, `"`)
			frame = "state " + state
		}
		frames = append(frames, frame)
	}
	return frames
}

func (s *shelf) becomes(state core.JobState) {
	s.news <- core.JobNews{Job: &core.Job{ID: "J1", State: state}}
}

func (s *shelf) says(offset int64, chunk string) {
	s.news <- core.JobNews{Chunk: []byte(chunk), Offset: offset}
}

func TestAJobIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(core.Job{ID: "J1", State: core.JobQueued})
		f := start(t, tiny(), nil, s.options)
		stream := f.follow("/jobs/J1/events")
		if h := stream.resp.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" {
			t.Errorf("%v", h)
		}
		want := `event: state
data: {"id":"J1","state":"queued","model":"","path":"","priority":"normal","caller":"","created_at":"0001-01-01T00:00:00Z",` +
			`"not_before":null,"started_at":null,"ended_at":null,"expires_at":null,"attempt":0,"attempts":[],"error":"","status":0,"position":null}
`
		if diff := cmp.Diff(want, stream.frame()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		go func() {
			s.becomes(core.JobWorking)
			s.says(0, "{\"a\":1}\n")
			s.says(8, "data: x\r\n\r\n")
			s.becomes(core.JobQueued)
			s.says(0, "again")
			time.Sleep(40 * time.Second)
			s.becomes(core.JobDone)
		}()
		got := append(stream.frames(5), strings.TrimSpace(stream.frame()), strings.TrimSpace(stream.frame()))
		got = append(append(got, stream.frames(1)...), stream.frame())
		wantFrames := []string{
			"state working", `chunk {"offset":0,"text":"{\"a\":1}\n"}`, `chunk {"offset":8,"text":"data: x\r\n\r\n"}`,
			"state queued", `chunk {"offset":0,"text":"again"}`, ":", ":", "state done", "",
		}
		if diff := cmp.Diff(wantFrames, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A browser comes again by itself when a stream ends; 204 says that there is no
// more. After a retry there is.
func TestWhoHasSeenTheEndIsSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, again := time.Now(), time.Now().Add(time.Millisecond)
		s := newShelf(
			core.Job{ID: "J1", State: core.JobWorking}, core.Job{ID: "old", State: core.JobFailed, EndedAt: &ended},
			core.Job{ID: "retried", State: core.JobDone, EndedAt: &again},
		)
		f := start(t, tiny(), nil, s.options)
		stream := f.follow("/jobs/J1/events")
		stream.frames(1)
		go func() { s.news <- core.JobNews{Job: &core.Job{ID: "J1", State: core.JobDone, EndedAt: &ended}} }()
		id, rest, ok := strings.Cut(strings.TrimPrefix(stream.frame(), "id: "), "\n")
		if !ok || id == "" || !strings.HasPrefix(rest, "event: state\n") {
			t.Fatalf("the end is %q: %s", id, rest)
		}
		for request, want := range map[string]int{
			"GET /jobs/old/events": 204, "HEAD /jobs/old/events": 204, "GET /jobs/retried/events": 200, "GET /jobs/nope/events": 404,
		} {
			method, path, _ := strings.Cut(request, " ")
			got := f.do(method, path, "", "Last-Event-ID: "+id)
			if got.status != want || want == 204 && got.body != "" || want == 200 && !strings.Contains(got.body, `"state":"done"`) {
				t.Errorf("%s: %d %s", request, got.status, got.body)
			}
		}
		if got := f.get("/jobs/old/events"); got.status != 200 || !strings.Contains(got.body, `"state":"failed"`) {
			t.Errorf("who hasn't seen the end gets %d %s", got.status, got.body)
		}
		still := f.follow("/jobs/J1/events", "Last-Event-ID: "+id) // of the try before
		if got := still.frames(1); got[0] != "state working" {
			t.Errorf("of a job that works: %s", got)
		}
	})
}

// A chunk ends where the wire cut it, a frame where a character does.
func TestCharactersOfAnAnswerStayWhole(t *testing.T) {
	for _, tt := range []struct {
		chunks, want []string
	}{
		{[]string{"a\xe2", "\x82", "\xacb"}, []string{`0 "a"`, `1 "€b"`}},
		{[]string{"\xf0\x9f\x98", "\x80"}, []string{`0 "😀"`}},
		{[]string{"é", "é"}, []string{`0 "é"`, `2 "é"`}},
		{[]string{"a\xe2"}, []string{`0 "a"`, `1 "\ufffd"`}}, // the answer isn't text
		{[]string{"\xff\xff", "a"}, []string{`0 "\ufffd\ufffd"`, `2 "a"`}},
		{[]string{"x\x80\x80\x80\x80\x80"}, []string{`0 "x` + strings.Repeat(`\ufffd`, 5) + `"`}},
		{[]string{strings.Repeat("€", 30_000)}, []string{
			`0 "` + strings.Repeat("€", 21845) + `"`, `65535 "` + strings.Repeat("€", 30_000-21845) + `"`}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf(core.Job{ID: "J1", State: core.JobWorking})
			f := start(t, tiny(), nil, s.options)
			stream := f.follow("/jobs/J1/events")
			go func() {
				offset := 0
				for _, chunk := range tt.chunks {
					s.says(int64(offset), chunk)
					offset += len(chunk)
				}
				s.becomes(core.JobDone)
			}()
			want := []string{"state working"}
			for _, chunk := range tt.want {
				offset, text, _ := strings.Cut(chunk, " ")
				want = append(want, fmt.Sprintf(`chunk {"offset":%s,"text":%s}`, offset, text))
			}
			want = append(want, "state done")
			if diff := cmp.Diff(want, stream.frames(len(want))); diff != "" {
				t.Errorf("%.20q (-want +got):\n%s", tt.chunks, diff)
			}
		})
	}
}

// left waits until n who followed a job are gone.
func (s *shelf) left(n int) {
	for range n {
		<-s.gone
	}
}

func TestWhoFollowsAJobMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(core.Job{ID: "J1", State: core.JobWorking})
		f := start(t, tiny(), nil, s.options, withTokens)
		const alice, bob = "X-Api-Key: alice-secret-0123456789", "X-Api-Key: bob secret"
		f.follow("/jobs/J1/events", alice).resp.Body.Close()
		s.left(1)
		if got := f.do("HEAD", "/jobs/J1/events", "", bob); got.status != 200 {
			t.Errorf("HEAD: %d", got.status)
		}
		s.left(1)

		shutOut := f.follow("/jobs/J1/events", alice)
		shutOut.frames(1)
		f.change(func(o *api.Options) { o.Tokens = map[string]string{"bob": "bob secret"} })
		go s.says(0, "secret")
		if got := shutOut.frame(); got != "" {
			t.Errorf("alice hears %q", got)
		}
		s.left(1)

		stays := f.follow("/jobs/J1/events", bob)
		stays.frames(1)
		f.stop()
		if got := stays.frame(); got != "" {
			t.Errorf("%q", got)
		}
		s.left(1)
	})
}

func TestOneWhoFollowsJobsTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(core.Job{ID: "J1", State: core.JobWorking})
		f := start(t, tiny(), nil, s.options)
		var streams []*stream
		for range 256 {
			streams = append(streams, f.follow("/jobs/J1/events"))
			streams[len(streams)-1].frames(1)
		}
		f.do("HEAD", "/jobs/J1/events", "")
		s.left(1)
		f.get("/jobs/J2/events").says(t, 404, `{"error":"no such job: there never was, or it ended longer ago than jobs.ttl"}`)
		s.left(1)
		synctest.Wait()
		if len(s.gone) > 0 {
			t.Error("somebody makes room for what isn't a stream")
		}
		f.follow("/jobs/J1/events").frames(1)
		if got := streams[0].frame(); got != "" {
			t.Errorf("the first one hears %q", got)
		}
		s.left(1)
		go s.says(0, "a")
		synctest.Wait()
		if len(s.gone) > 0 {
			t.Error("more than one make room")
		}
	})
}

func TestClientFollowsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(core.Job{ID: "J1", State: core.JobQueued})
		f := start(t, tiny(), nil, s.options)
		client := asks(f, "")
		go func() {
			s.becomes(core.JobWorking)
			time.Sleep(time.Hour)
			s.says(0, "a\n")
			s.says(2, "€")
			s.becomes(core.JobFailed)
		}()
		var got []string
		for news, err := range client.JobEvents(t.Context(), "J1") {
			switch {
			case err != nil:
				t.Fatal(err)
			case news.Job != nil:
				got = append(got, string(news.Job.State))
			default:
				got = append(got, fmt.Sprintf("%d %s", news.Offset, news.Chunk))
			}
		}
		if diff := cmp.Diff([]string{"queued", "working", "0 a\n", "2 €", "failed"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, err := range client.JobEvents(t.Context(), "nope") {
			if refused, ok := errors.AsType[*api.Refusal](err); !ok || refused.Status != http.StatusNotFound {
				t.Errorf("%v", err)
			}
		}
		time.AfterFunc(time.Minute, f.stop)
		var last error
		for _, last = range client.JobEvents(t.Context(), "J1") {
		}
		if !errors.Is(last, api.ErrNoDaemon) {
			t.Errorf("of a daemon that stops: %v", last)
		}
	})
}
