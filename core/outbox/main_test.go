package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/outbox"
)

// TestMain also is the foreman that a test kills.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "foreman" {
		foreman(os.Args[2], os.Args[3])
		return
	}
	goleak.VerifyTestMain(m)
}

var everything = outbox.Options{Events: []string{"*"}, Timeout: 10 * time.Second}

var quiet = slog.New(slog.DiscardHandler)

// ended is a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// A recipient is a notifier that remembers what arrived, and every attempt.
type recipient struct {
	mu      sync.Mutex
	answer  func(ctx context.Context, event core.Event) error // nil: all is well
	tried   []arrival
	arrived []arrival
}

type arrival struct {
	core.Event
	after time.Duration // since the test began
}

var began time.Time // of the bubble

func (r *recipient) Notify(ctx context.Context, event core.Event) error {
	r.mu.Lock()
	answer := r.answer
	at := arrival{event, time.Since(began)}
	r.tried = append(r.tried, at)
	r.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, event); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = append(r.arrived, at)
	return nil
}

// answers replaces the answer, and forgets the attempts that there were.
func (r *recipient) answers(answer func(context.Context, core.Event) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.tried = answer, nil
}

func (r *recipient) attempts() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tried)
}

func (r *recipient) got() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrived)
}

func (r *recipient) ids() []string {
	ids := []string{}
	for _, a := range r.got() {
		ids = append(ids, a.ID)
	}
	return ids
}

// hangs is how a notifier answers that doesn't.
func hangs(ctx context.Context, _ core.Event) error {
	<-ctx.Done()
	return ctx.Err()
}

// slow is one that needs that long.
func slow(d time.Duration) func(context.Context, core.Event) error {
	return func(ctx context.Context, _ core.Event) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func fails(err error) func(context.Context, core.Event) error {
	return func(context.Context, core.Event) error { return err }
}

// logged is what a queue writes to its log.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// running is a queue with its Run.
type running struct {
	*outbox.Queue
	logged *logged
	stop   func()
}

// start runs a queue until the test ends, or is stopped.
func start(t *testing.T, n outbox.Notifier, dir string, opts outbox.Options) running {
	t.Helper()
	logged := new(logged)
	q := outbox.New("ops", n, dir, opts, slog.New(slog.NewTextHandler(logged, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- q.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return running{q, logged, stop}
}

// bubble is synctest.Test that notes when it began.
func bubble(t *testing.T, test func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		began = time.Now()
		test(t)
	})
}

// pass lets virtual time go by, and the queue settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const target = "http://127.0.0.1:11434"

// event is one that happens now.
func event(kind core.EventType, id string) core.Event {
	e := core.NewEvent(kind, time.Now(), target, "Something happened.", nil)
	e.ID = id
	return e
}

// added is the n-th event of a model.
func added(n int) core.Event { return event(core.EventModelAdded, fmt.Sprintf("id-%04d", n)) }

func addedIDs(from, to int) []string {
	ids := []string{}
	for n := from; n < to; n++ {
		ids = append(ids, added(n).ID)
	}
	return ids
}

// field is what an event's data says of name, or nil.
func field(t *testing.T, e core.Event, name string) any {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatalf("data of %s: %v", e.ID, err)
	}
	return data[name]
}
