package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// notifierOf is foreman's view of n, over the wire.
func notifierOf(t *testing.T, n core.Notifier) *NotifierClient {
	t.Helper()
	return NewNotifierClient(serveTo(t, func(server *grpc.Server) {
		pluginpb.RegisterNotifierServer(server, &notifierServer{notifier: n})
	}))
}

// A notifier is two functions.
type notifier struct {
	configure func(json.RawMessage) error
	notify    func(context.Context, core.Event) error
}

func (n notifier) Configure(_ context.Context, settings json.RawMessage) error {
	return n.configure(settings)
}

func (n notifier) Notify(ctx context.Context, event core.Event) error { return n.notify(ctx, event) }

// says is a plugin that wasn't made with this SDK and always says the same.
type says struct {
	pluginpb.UnimplementedNotifierServer
	version string
	err     error
}

func (s says) Configure(context.Context, *pluginpb.NotifierConfigureRequest) (*pluginpb.NotifierConfigureResponse, error) {
	return &pluginpb.NotifierConfigureResponse{PluginVersion: s.version}, s.err
}

func (s says) Notify(context.Context, *pluginpb.NotifyRequest) (*pluginpb.NotifyResponse, error) {
	return &pluginpb.NotifyResponse{}, s.err
}

func foreignNotifier(t *testing.T, s says) *NotifierClient {
	t.Helper()
	return NewNotifierClient(serveTo(t, func(server *grpc.Server) { pluginpb.RegisterNotifierServer(server, s) }))
}

func TestNotifierSettingsCross(t *testing.T) {
	for _, c := range []struct{ sent, want json.RawMessage }{
		{json.RawMessage(`{"url":"http://x"}`), json.RawMessage(`{"url":"http://x"}`)},
		{nil, json.RawMessage(`{}`)},
	} {
		var got json.RawMessage
		n := notifierOf(t, notifier{configure: func(settings json.RawMessage) error { got = settings; return nil }})
		if err := n.Configure(t.Context(), c.sent); err != nil || cmp.Diff(c.want, got) != "" {
			t.Errorf("sent %s, got %s, %v", c.sent, got, err)
		}
	}
	refuses := notifierOf(t, notifier{configure: func(json.RawMessage) error { return errors.New("url: want http:// in front") }})
	if err := refuses.Configure(t.Context(), nil); err == nil || err.Error() != "url: want http:// in front" {
		t.Errorf("got %v, want the plugin's own sentence", err)
	}
	other := foreignNotifier(t, says{err: status.Error(codes.Internal, "oh no")})
	if err := other.Configure(t.Context(), nil); err == nil || err.Error() != "configure: oh no" {
		t.Errorf("got %v", err)
	}
}

func TestPluginStatesItsVersion(t *testing.T) {
	n := foreignNotifier(t, says{version: "4.5.6"})
	if err := n.Configure(t.Context(), nil); err != nil || n.PluginVersion() != "4.5.6" {
		t.Errorf("got %q, %v", n.PluginVersion(), err)
	}
	b := connectRaw(t, replies{version: "4.5.6"})
	if _, err := b.Configure(t.Context(), core.Settings{}); err != nil || b.PluginVersion() != "4.5.6" {
		t.Errorf("got %q, %v", b.PluginVersion(), err)
	}
}

func TestEventsCrossWhole(t *testing.T) {
	whole := core.Event{
		ID: "01JZ", Type: core.EventDegraded, At: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
		Target: "http://x", Sentence: "it is <away>, \"ünïcode\"", Data: json.RawMessage(`{"failures": 3, "x":[1]}`),
	}
	full(t, whole)
	spoilt := whole
	spoilt.Sentence, spoilt.Data = "got \xff", nil
	mended := whole
	mended.Sentence, mended.Data = "got \uFFFD", json.RawMessage(`{}`)
	for _, c := range []struct{ sent, want core.Event }{{whole, whole}, {spoilt, mended}} {
		var got core.Event
		n := notifierOf(t, notifier{notify: func(_ context.Context, e core.Event) error { got = e; return nil }})
		err := n.Notify(t.Context(), c.sent)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%v (-sent +got):\n%s", err, diff)
		}
	}
}

func TestNotifiersErrorIsItsOwnSentence(t *testing.T) {
	for _, c := range []struct {
		err           error
		want          string
		undeliverable bool
	}{
		{errors.New("the line is busy"), "the line is busy", false},
		{fmt.Errorf("%w: nobody lives there", core.ErrUndeliverable), "undeliverable: nobody lives there", true},
		{fmt.Errorf("410: %w", core.ErrUndeliverable), "410: undeliverable", true},
		{errors.New("got \xff"), "got \uFFFD", false},
		{errors.New("no such channel:\r\n\x1b[31m#ops"), "no such channel: [31m#ops", false},
		{errors.New(strings.Repeat("ä", 1<<20)), strings.Repeat("ä", 500) + "…", false},
		{errors.New("x" + strings.Repeat("ä", 1<<20)), "x" + strings.Repeat("ä", 499) + "…", false},
		// The plugin's own deadline is no news of foreman's.
		{fmt.Errorf("POST: %w", context.DeadlineExceeded), "POST: context deadline exceeded", false},
		{context.Canceled, "context canceled", false},
	} {
		n := notifierOf(t, notifier{notify: func(context.Context, core.Event) error { return c.err }})
		err := n.Notify(t.Context(), core.Event{})
		if err == nil || err.Error() != c.want || errors.Is(err, core.ErrUndeliverable) != c.undeliverable {
			t.Errorf("%.100v: got %.100v, want %.100s", c.err, err, c.want)
		}
		if errors.Is(err, core.ErrNoAnswer) || errors.Is(err, context.Canceled) {
			t.Errorf("%.100v is taken for another error", c.err)
		}
	}
}

func TestForeignNotifiersErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error // that it is, if any
		text string
	}{
		{status.Error(codes.FailedPrecondition, "no such channel"), core.ErrUndeliverable, "no such channel"},
		{status.Error(codes.FailedPrecondition, ""), core.ErrUndeliverable, "undeliverable"},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)"), core.ErrUndeliverable,
			"notify: grpc: received message larger than max (5 vs. 4)"},
		{status.Error(codes.ResourceExhausted, "too many"), nil, "notify: too many"},
		{status.Error(codes.Unknown, "busy"), nil, "busy"},
		{status.Error(codes.Unknown, "busy\n\x1b[2Jat 10:00"), nil, "busy [2Jat 10:00"},
		{status.Error(codes.Unknown, ""), nil, "notify: Unknown"},
		{status.Error(codes.Unavailable, "busy"), nil, "notify: busy"},
		{status.Error(codes.Unavailable, strings.Repeat("x", 10_000)), nil, "notify: " + strings.Repeat("x", 1000) + "…"},
		{status.Error(codes.DeadlineExceeded, "late"), core.ErrNoAnswer, "notify: the plugin didn't answer in time"},
	} {
		err := foreignNotifier(t, says{err: c.err}).Notify(t.Context(), core.Event{})
		if err == nil || err.Error() != c.text || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%.100v: got %.100v, want %.100s", c.err, err, c.text)
		}
	}
}

// What gRPC itself refuses for its size it would refuse again.
func TestEventThatIsTooLargeIsUndeliverable(t *testing.T) {
	n := notifierOf(t, notifier{notify: func(context.Context, core.Event) error { return nil }})
	err := n.Notify(t.Context(), core.Event{Data: json.RawMessage(`"` + strings.Repeat("x", maxMessage) + `"`)})
	if !errors.Is(err, core.ErrUndeliverable) || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("got %v", err)
	}
}

func TestNotifierThatHangsHasNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		n := notifierOf(t, notifier{notify: func(_ context.Context, e core.Event) error { <-release; return nil }})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := n.Notify(ctx, core.Event{}); !errors.Is(err, core.ErrNoAnswer) {
			t.Errorf("got %v, want no answer", err)
		}
		close(release)
	})
}

func TestNotifyIsCanceledOnBothSides(t *testing.T) {
	entered, left := make(chan struct{}), make(chan error, 1)
	n := notifierOf(t, notifier{notify: func(ctx context.Context, _ core.Event) error {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if err := n.Notify(ctx, core.Event{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancellation", err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the notifier saw %v", err)
	}
}
