package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// A tray takes what the target answers to a job.
type tray struct {
	status      int
	contentType string
	pieces      []string
	full        error // of each write
}

func (t *tray) Begin(status int, contentType string) { t.status, t.contentType = status, contentType }

func (t *tray) Write(chunk []byte) (int, error) {
	t.pieces = append(t.pieces, string(chunk))
	return len(chunk), t.full
}

func (f *foreman) work(ctx context.Context, body string) (*tray, error) {
	got := new(tray)
	err := f.server.Do(ctx, core.Work{Path: "/api/chat", Body: []byte(body)}, got)
	return got, err
}

// pictures asks for tiny with more than small requests have.
var pictures = `{"model":"tiny","images":["` + strings.Repeat("A", 100_000) + `"]}`

func TestAJobsWorkReachesTheTarget(t *testing.T) {
	for _, body := range []string{asksTiny, pictures} {
		synctest.Test(t, func(t *testing.T) {
			var header http.Header
			var asked string
			var f *foreman
			f = start(t, found(named("tiny:latest")), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				header, asked = r.Header, r.Method+" "+r.RequestURI+" "+r.Host+" "+string(got)
				w.Header().Set("Content-Type", "application/x-ndjson")
				for n := range 3 {
					fmt.Fprintf(w, "{%d}\n", n)
					flush(w)
					time.Sleep(time.Second)
					if _, nudges := f.asked(); nudges == 0 {
						t.Error("nobody looks what the target has loaded")
					}
				}
			}), func(o *setup) {
				o.Upstream = func() (core.Upstream, error) {
					return core.Upstream{URL: upstream, Header: http.Header{"Authorization": {"Bearer the-targets"}}}, nil
				}
			})
			got, err := f.work(t.Context(), body)
			if err != nil {
				t.Fatal(err)
			}
			want := &tray{status: 200, contentType: "application/x-ndjson", pieces: []string{"{0}\n", "{1}\n", "{2}\n"}}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(tray{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := "POST /api/chat ollama.test:11434 " + body; asked != want {
				t.Errorf("the target was asked %.200s", asked)
			}
			wantHeader := http.Header{
				"Authorization": {"Bearer the-targets"}, "Content-Type": {"application/json"}, "Content-Length": {fmt.Sprint(len(body))},
			}
			if diff := cmp.Diff(wantHeader, header); diff != "" {
				t.Errorf("the target's header (-want +got):\n%s", diff)
			}
			if _, nudges := f.asked(); nudges != 2 {
				t.Errorf("%d looks at what the target has loaded: want one at the beginning and one at the end", nudges)
			}
		})
	}
}

func TestWhatBecomesOfAJobsWork(t *testing.T) {
	hangs := listens(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, tt := range map[string]struct {
		target http.Handler
		away   bool
		frozen bool
		reason core.Reason // "" for no error
		begun  int         // status
		took   time.Duration
	}{
		"the target's error":  {target: http.NotFoundHandler(), begun: 404},
		"another of it":       {target: listens(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), begun: 500},
		"away":                {target: hangs, away: true, reason: core.ReasonRefused},
		"frozen":              {target: hangs, frozen: true, reason: core.ReasonTimeout, took: noticed},
		"lives, says nothing": {target: hangs, reason: core.ReasonTimeout, took: 10*time.Minute + 3*time.Second},
		"redirected":          {target: http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect), reason: core.ReasonRedirect},
		"broken off at once":  {target: listens(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), reason: core.ReasonReset},
		"loads for 9 minutes": {target: listens(func(w http.ResponseWriter, _ *http.Request) { time.Sleep(9 * time.Minute); line(w) }), begun: 200, took: 9 * time.Minute},
		"streams for 20 minutes": {target: listens(func(w http.ResponseWriter, _ *http.Request) {
			for range 20 {
				line(w)
				time.Sleep(time.Minute)
			}
		}), begun: 200, took: 20 * time.Minute},
		"broken off in between": {target: listens(func(w http.ResponseWriter, _ *http.Request) {
			line(w)
			panic(http.ErrAbortHandler)
		}), reason: core.ReasonReset, begun: 200},
		"frozen in between": {target: listens(func(w http.ResponseWriter, r *http.Request) {
			line(w)
			<-r.Context().Done()
		}), frozen: true, reason: core.ReasonTimeout, begun: 200, took: noticed},
	} {
		for _, body := range []string{asksTiny, pictures} {
			synctest.Test(t, func(t *testing.T) {
				h := new(heart)
				h.still.Store(tt.frozen)
				f := start(t, tiny(), tt.target, h.options, retryFor(time.Hour))
				if tt.away {
					f.leave()
				}
				began := time.Now()
				got, err := f.work(t.Context(), body)
				fault, isFault := errors.AsType[*core.Fault](err)
				switch {
				case isFault && fault.Reason != tt.reason, isFault == (tt.reason == ""), !isFault && err != nil:
					t.Errorf("%s: %v", name, err)
				case got.status != tt.begun:
					t.Errorf("%s: begun with %d", name, got.status)
				case time.Since(began) > tt.took || time.Since(began) < tt.took-9*time.Second:
					t.Errorf("%s: known after %v", name, time.Since(began))
				}
			})
		}
	}
}

// A job that is cancelled frees the target at once, and one whose answer
// nobody can keep does.
func TestWhoEndsAJobsWork(t *testing.T) {
	for _, chunks := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan time.Time, 1)
			f := start(t, tiny(), listens(func(w http.ResponseWriter, r *http.Request) {
				for range chunks {
					line(w)
				}
				<-r.Context().Done()
				ended <- time.Now()
			}), new(heart).options)
			ctx, cancel := context.WithCancel(t.Context())
			asked := time.Now()
			time.AfterFunc(time.Second, cancel)
			if _, err := f.work(ctx, asksTiny); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if took := (<-ended).Sub(asked); took != time.Second {
				t.Errorf("the target is held for %v", took)
			}
			if chunks == 0 {
				return
			}
			full := errors.New("full")
			got, began := &tray{full: full}, time.Now()
			err := f.server.Do(t.Context(), core.Work{Path: "/api/chat", Body: []byte(asksTiny)}, got)
			if !errors.Is(err, full) || len(got.pieces) != 1 {
				t.Errorf("%v after %d pieces", err, len(got.pieces))
			}
			if took := (<-ended).Sub(began); took != 0 {
				t.Errorf("the target is held for %v for what nobody keeps", took)
			}
		})
	}
}
