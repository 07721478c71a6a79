package notify

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/plugintest"
)

func TestContract(t *testing.T) {
	taking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(taking.Close)
	silent := silence(t)
	webhookTo := func(address string) json.RawMessage {
		return settingsOf(t, map[string]any{"url": "http://" + address, "allow_private": true})
	}
	serviceAt := func(address string) json.RawMessage {
		return settingsOf(t, map[string]any{"url": "ntfy://" + address + "/topic?scheme=http"})
	}
	run := func(argv ...string) json.RawMessage { return settingsOf(t, map[string]any{"argv": argv}) }

	good := taking.Listener.Addr().String()
	// The silent command ends by itself once nobody reads its output.
	for kind, settings := range map[string]plugintest.NotifierSettings{
		"log":     {},
		"webhook": {Good: webhookTo(good), Failing: webhookTo("127.0.0.1:1"), Silent: webhookTo(silent)},
		"command": {Good: run("true"), Failing: run("false"), Silent: run("sh", "-c", "while sleep 1; do echo; done")},
		"service": {Good: serviceAt(good), Failing: serviceAt("127.0.0.1:1"), Silent: serviceAt(silent)},
	} {
		t.Run(kind+" in process", func(t *testing.T) {
			t.Parallel()
			plugintest.Notifier(t, settings, func(*testing.T) core.Notifier {
				n, _ := New(kind)
				return n
			})
		})
		// By way of env(1): with the race detector a process sleeps for a
		// second as it exits, unless it is told not to.
		t.Run(kind+" as a process", func(t *testing.T) {
			t.Parallel()
			plugintest.NotifierProcess(t, settings, "/usr/bin/env",
				"GORACE=atexit_sleep_ms=0", os.Args[0], "plugin", plugin.KindNotifier, kind)
		})
	}
}

func settingsOf(tb testing.TB, settings map[string]any) json.RawMessage {
	tb.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// silence takes connections and never says a word. It returns its address.
func silence(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
		}
	}()
	tb.Cleanup(func() {
		_ = listener.Close()
		<-over
	})
	return listener.Addr().String()
}
