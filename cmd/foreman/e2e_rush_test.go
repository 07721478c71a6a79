//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

// atOnce is how many connections a rush has.
const atOnce = 32

// A rush is many requests for a stream at a time.
type rush struct {
	t        *testing.T
	url      string
	target   *target
	client   *http.Client
	mayBreak func() bool // asked when a stream has broken

	began         time.Time
	open          atomic.Int64 // streams that have begun and not ended
	whole, broken atomic.Int64 // streams that have ended well
	done          chan struct{}
	failures      []error // readable after done
}

// startRush sends the requests. Each answer has to be what the target sent for
// it, to its last byte, or to break visibly, if it may.
func startRush(t *testing.T, f *testkit.Foreman, tg *target, requests int, mayBreak func() bool) *rush {
	t.Helper()
	r := &rush{
		t: t, url: f.URL, target: tg, client: callers(t, atOnce), mayBreak: mayBreak,
		began: time.Now(), done: make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	numbers, results := make(chan int, requests), make(chan error, requests)
	for number := range requests {
		numbers <- number
	}
	close(numbers)
	for range atOnce {
		go func() {
			for number := range numbers {
				results <- r.stream(ctx, number)
			}
		}()
	}
	go func() {
		defer close(r.done)
		defer cancel()
		for range requests {
			if err := <-results; err != nil {
				r.failures = append(r.failures, err)
			}
		}
	}()
	return r
}

func (r *rush) stream(ctx context.Context, number int) error {
	var got testkit.Answer
	path, body := asked(number)
	resp, err := call(ctx, r.client, r.url+path, body, strconv.Itoa(number))
	if err == nil {
		r.open.Add(1)
		got, err = rest(resp)
		r.open.Add(-1)
	}
	err = r.target.judge(strconv.Itoa(number), got, err)
	switch {
	case err == nil:
		r.whole.Add(1)
	case errors.Is(err, errBroken) && r.mayBreak():
		r.broken.Add(1)
	default:
		return fmt.Errorf("%s number %d: %w", path, number, err)
	}
	return nil
}

// lasts reports whether the rush still goes on after d.
func (r *rush) lasts(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.done:
		return false
	}
}

// awaitOpen waits until at least and at most so many streams are open.
func (r *rush) awaitOpen(within time.Duration, least, most int64) time.Duration {
	r.t.Helper()
	return testkit.Await(r.t, within, fmt.Sprintf("%d to %d streams are open", least, most), func() error {
		if open := r.open.Load(); open < least || open > most {
			return fmt.Errorf("%d are", open)
		}
		return nil
	})
}

// mustEnd waits for the last stream. All have to have ended well.
func (r *rush) mustEnd() {
	r.t.Helper()
	<-r.done
	r.client.CloseIdleConnections()
	if n := len(r.failures); n > 0 {
		r.t.Errorf("%d streams fail: %v", n, errors.Join(r.failures[:min(3, n)]...))
	}
	r.t.Logf("%d streams are whole and %d broken after %v", r.whole.Load(), r.broken.Load(), time.Since(r.began))
}

// mustStream is a rush in which no stream may break.
func mustStream(t *testing.T, f *testkit.Foreman, tg *target, requests int) {
	t.Helper()
	startRush(t, f, tg, requests, func() bool { return false }).mustEnd()
}

// TestE2EStreamsAreWhole needs more than one core: on one, net/http doesn't
// cut streams that it cuts on two (golang/go#40747).
func TestE2EStreamsAreWhole(t *testing.T) {
	for name, env := range map[string][]string{"on two cores": {"GOMAXPROCS=2"}, "on all cores": nil} {
		t.Run(name, func(t *testing.T) {
			tg := newTarget(t)
			f := serveFor(t, testkit.Settings{Target: tg.URL, Poll: fastPoll, Schedule: sideBySide, Env: env})
			mustStream(t, f, tg, 3200)
		})
	}
}

// dripping has a stream take some tens of milliseconds.
func dripping(link *testkit.Link) { link.Drip(200, time.Millisecond) }

func TestE2EStreamsOverABadLink(t *testing.T) {
	t.Parallel()
	tg, link, f := overLink(t, "")
	t.Run("slow", func(t *testing.T) {
		link.Drip(32<<10, 20*time.Millisecond)
		mustStream(t, f, tg, 3200)
	})
	t.Run("dripping", func(t *testing.T) {
		dripping(link)
		mustStream(t, f, tg, 3200)
	})
}

// TestE2EStreamsOverALinkThatBreaks has the link break for all its connections
// at random moments. Once it is good again, all is as before.
func TestE2EStreamsOverALinkThatBreaks(t *testing.T) {
	t.Parallel()
	for name, breakDown := range map[string]func(*testing.T, *testkit.Foreman, *target, *testkit.Link){
		"resets":      mustOutliveResets,
		"black holes": mustOutliveBlackHoles,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg, link, f := overLink(t, "")
			dripping(link)
			breakDown(t, f, tg, link)
			link.Heal()
			mustStream(t, f, tg, 320)
			mustLeaveNothing(t, f, link)
		})
	}
}

func mustOutliveResets(t *testing.T, f *testkit.Foreman, tg *target, link *testkit.Link) {
	t.Helper()
	r := startRush(t, f, tg, 960, func() bool { return true })
	for r.lasts(rand.N(100 * time.Millisecond)) {
		link.Cut(rand.Int64N(4 << 10))
		r.lasts(rand.N(10 * time.Millisecond))
		dripping(link)
	}
	r.mustEnd()
	if whole, broken, cuts := r.whole.Load(), r.broken.Load(), link.Cuts(); whole == 0 || broken == 0 || broken > cuts {
		t.Errorf("%d streams are whole and %d broken by %d cuts; want some of both, and no more broken than cut", whole, broken, cuts)
	}
}

// mustOutliveBlackHoles has short ones, which no stream minds, and long ones,
// in which none stays open for longer than it may.
func mustOutliveBlackHoles(t *testing.T, f *testkit.Foreman, tg *target, link *testkit.Link) {
	t.Helper()
	var silent atomic.Pointer[time.Time] // since when; nil before the first long one
	r := startRush(t, f, tg, 960, func() bool {
		since := silent.Load()
		return since != nil && time.Since(*since) <= noticed
	})
	for range 2 {
		for range 10 {
			r.lasts(rand.N(50 * time.Millisecond))
			link.Hold()
			r.lasts(rand.N(50 * time.Millisecond))
			dripping(link)
		}
		r.awaitOpen(soon, atOnce/4, atOnce)
		now, before := time.Now(), r.broken.Load()
		silent.Store(&now)
		link.Hold()
		took := r.awaitOpen(noticed, 0, 0)
		broken := r.broken.Load() - before
		dripping(link)
		if broken == 0 {
			t.Error("no stream breaks in a long black hole")
		}
		t.Logf("%d streams break within %v", broken, took)
	}
	r.mustEnd()
}

// ofRequests are goroutines, by what starts them, that end with their request
// or its connections.
var ofRequests = regexp.MustCompile(`created by (net/http|time\.goFunc|\S+/singleflight|\S+/core/api\.\(\*service\)).*`)

// mustLeaveNothing wants no request to be held, no connection open and no
// goroutine of a request left. It ends foreman.
func mustLeaveNothing(t *testing.T, f *testkit.Foreman, link *testkit.Link) {
	t.Helper()
	testkit.Await(t, soon, "nothing runs", func() error {
		queue, err := f.Get("/queue")
		if err == nil && !strings.Contains(string(queue.Body), `"running":[],"waiting":[]`) {
			err = fmt.Errorf("the queue is %s", queue.Body)
		}
		return err
	})
	testkit.Await(t, soon, "idle connections are closed", func() error {
		if open := link.Open(); open > 0 {
			return fmt.Errorf("%d are open", open)
		}
		return nil
	})
	f.Signal(syscall.SIGQUIT) // has Go's runtime list all goroutines
	f.AwaitEnd(soon, soon)
	log := f.Log()
	if !strings.Contains(log, "created by") {
		t.Error("no goroutine is listed")
	}
	if left := ofRequests.FindAllString(log, -1); left != nil {
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n"))
	}
}
