package notify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

func TestLogIsALine(t *testing.T) {
	for sentence, want := range map[string]string{
		"away:\n\x1b[31mrefused":    "degraded: away: [31mrefused\n",
		strings.Repeat("x", 2048):   "degraded: " + strings.Repeat("x", 2048) + "\n",
		strings.Repeat("x", 10_000): "degraded: " + strings.Repeat("x", 3990) + "…\n",
	} {
		var out strings.Builder
		event := degraded
		event.Sentence = sentence
		if err := (&stderrLog{out: &out}).Notify(t.Context(), event); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("it wrote (-want +got):\n%s", diff)
		}
	}
}

// A clocked remembers when each line was written.
type clocked struct {
	mu sync.Mutex
	at []time.Time
}

func (c *clocked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
	return len(p), nil
}

// mostInASecond is how many lines came in the busiest second.
func (c *clocked) mostInASecond() int {
	most := 0
	for i, first := range c.at {
		n := 0
		for _, at := range c.at[i:] {
			if at.Sub(first) < time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func TestLogIsPaced(t *testing.T) {
	for name, send := range map[string]func(notify func()){
		"one after the other": func(notify func()) {
			for range 800 {
				notify()
			}
		},
		"at the same time": func(notify func()) {
			var calls sync.WaitGroup
			for range 800 {
				calls.Go(notify)
			}
			calls.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out clocked
				n := &stderrLog{out: &out}
				began := time.Now()
				send(func() {
					if err := n.Notify(t.Context(), degraded); err != nil {
						t.Error(err)
					}
				})
				if took := time.Since(began); len(out.at) != 800 || took > 20*time.Second {
					t.Errorf("%d lines in %v", len(out.at), took)
				}
				if most := out.mostInASecond(); most > 50 {
					t.Errorf("%d lines in a second", most)
				}
				time.Sleep(time.Second)
				began = time.Now()
				if err := n.Notify(t.Context(), degraded); err != nil || time.Since(began) > 0 {
					t.Errorf("one that came later waited for %v, %v", time.Since(began), err)
				}
			})
		})
	}
}

func TestLogThatHasToWaitObeysItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out clocked
		n := &stderrLog{out: &out}
		if err := n.Notify(t.Context(), degraded); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), linePause/2)
		defer cancel()
		if err := n.Notify(ctx, degraded); !errors.Is(err, context.DeadlineExceeded) || len(out.at) != 1 {
			t.Errorf("got %v, and %d lines", err, len(out.at))
		}
	})
}

// A sharedLog is written by a goroutine and read by the test.
type sharedLog struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	lines chan struct{} // holds a token after a line
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.lines <- struct{}{}:
	default:
	}
	return l.buf.Write(p)
}

func (l *sharedLog) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), what)
}

// What was delivered stands in foreman's log, however much comes at once.
func TestEveryLineIsLoggedByForeman(t *testing.T) {
	t.Parallel()
	const events = 150
	logged := &sharedLog{lines: make(chan struct{}, 1)}
	spec := host.Spec{Kind: plugin.KindNotifier, Name: "log", Path: "/usr/bin/env",
		Args: []string{"GORACE=atexit_sleep_ms=0", os.Args[0], "plugin", plugin.KindNotifier, "log"}}
	run, err := host.StartNotifier(t.Context(), spec, nil, slog.New(slog.NewTextHandler(logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer run.Stop()
	for i := range events {
		event := degraded
		event.Sentence = "number " + strconv.Itoa(i) + strings.Repeat(" and so on", 200) + " to the end"
		if err := run.Notify(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	timeout := time.After(10 * time.Second)
	for logged.count(" to the end") < events {
		select {
		case <-logged.lines:
		case <-timeout:
			t.Fatalf("%d lines of %d were logged, %d dropped", logged.count(" to the end"), events, logged.count("dropped="))
		}
	}
}
