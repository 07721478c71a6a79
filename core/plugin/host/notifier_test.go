package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
)

// A fakeNotifier refuses settings that aren't empty, and does what an event's
// sentence says.
type fakeNotifier struct{}

func (fakeNotifier) Configure(_ context.Context, settings json.RawMessage) error {
	if string(settings) != "{}" {
		return fmt.Errorf("unknown setting in %s", settings)
	}
	return nil
}

func (fakeNotifier) Notify(ctx context.Context, event core.Event) error {
	switch event.Sentence {
	case "fail":
		return errors.New("the line is busy")
	case "give up":
		return fmt.Errorf("%w: nobody lives there", core.ErrUndeliverable)
	case "panic":
		panic("index out of range")
	case "wait":
		untilOver(testify("call", os.Args[3]))
	}
	told, err := json.Marshal(event)
	fmt.Fprintln(os.Stderr, string(told))
	return err
}

func notifierSpec(behaviour, witness string) host.Spec {
	s := spec(behaviour, witness)
	s.Kind = plugin.KindNotifier
	return s
}

func say(sentence string) core.Event {
	e := core.NewEvent(core.EventTest, time.Unix(1, 0), "http://target", sentence, nil)
	e.ID = "01JZ0000000000000000000000"
	return e
}

func TestNotifierDelivers(t *testing.T) {
	w := newWitness(t)
	var log lockedBuffer
	p, err := host.StartNotifier(t.Context(), notifierSpec("notifier", w.path), nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	life := w.next(t)
	if err := p.Notify(t.Context(), say("all is well")); err != nil {
		t.Fatal(err)
	}
	log.waitFor(t, `level=INFO msg="{\"id\":\"01JZ0000000000000000000000\",\"type\":\"test\",`+
		`\"at\":\"1970-01-01T00:00:01Z\",\"target\":\"http://target\",\"sentence\":\"all is well\",\"data\":{}}"`)

	for sentence, want := range map[string]string{
		"fail":    "the line is busy",
		"give up": "undeliverable: nobody lives there",
		"panic":   "notify: panic in /foreman.plugin.v1.Notifier/Notify: index out of range",
	} {
		err := p.Notify(t.Context(), say(sentence))
		if err == nil || err.Error() != want || errors.Is(err, core.ErrUndeliverable) != (sentence == "give up") {
			t.Errorf("%s: got %v, want %s", sentence, err, want)
		}
	}
	big := say("big")
	big.Data = json.RawMessage(`{"padding":"` + strings.Repeat("x", 5<<20) + `"}`)
	if err := p.Notify(t.Context(), big); err != nil {
		t.Errorf("an event of 5 MB: %v", err)
	}
	p.Stop()
	life.ends(t, atOnce)
}

func TestNotifierThatCannotStart(t *testing.T) {
	for _, c := range []struct{ behaviour, settings, want string }{
		{"notifier", `{"x":1}`, `plugin fake: unknown setting in {"x":1}`},
		{"good", "", "plugin fake: it is no notifier: unknown service foreman.plugin.v1.Notifier"},
		{"junk", "", "start plugin fake: it didn't print the plugin handshake on stdout: is it a foreman plugin, for this machine?"},
	} {
		w := newWitness(t)
		_, err := host.StartNotifier(t.Context(), notifierSpec(c.behaviour, w.path), json.RawMessage(c.settings), silent)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got  %v\nwant %s", c.behaviour, err, c.want)
		}
		w.next(t).ends(t, atOnce)
	}
	w := newWitness(t)
	_, err := host.StartBackend(t.Context(), spec("notifier", w.path), core.Settings{}, silent)
	if want := "plugin fake: it is no backend: unknown service foreman.plugin.v1.Backend"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	w.next(t).ends(t, atOnce)
}

func TestNotifierIsStartedAgain(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	restarts := make(chan core.PluginStatus, 10)
	n := host.NewNotifier(notifierSpec("notifier", w.path), nil, func(st core.PluginStatus) { restarts <- st }, silent)
	if err := n.Notify(t.Context(), say("hello")); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("before it runs: got %v, want that the plugin isn't there", err)
	}
	stop := keep(t, n)
	receive(t, n.Up())
	for i, c := range []struct {
		signal syscall.Signal
		why    string
	}{{syscall.SIGKILL, "it exited: signal: killed"}, {syscall.SIGSTOP, "it hung and was killed"}} {
		if err := n.Notify(t.Context(), say("hello")); err != nil {
			t.Fatal(err)
		}
		w.next(t).signal(t, c.signal)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		for ctx.Err() == nil {
			_ = n.Notify(ctx, say("are you there?"))
		}
		want := core.PluginStatus{
			Name: "fake", Kind: "notifier", State: core.PluginRunning, Protocol: 1, Restarts: i + 1, Error: c.why,
		}
		if diff := cmp.Diff(want, receive(t, restarts)); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		receive(t, n.Up())
	}
	stop()
	w.next(t).ends(t, atOnce)
	w.nothingNew(t)
}
