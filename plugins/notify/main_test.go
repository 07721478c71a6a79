package notify

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// noProxy is what the environment names as a proxy, which nobody should ask.
const noProxy = "127.0.0.1:9"

// Every httptest server with TLS shows one certificate, which is trusted here:
// Go reads the list of those it trusts once, from a file that the environment
// names. It reads the name of a proxy once, too.
//
// TestMain also is the plugin's executable, as foreman is.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "plugin" {
		n, _ := New(os.Args[3])
		plugin.ServeNotifier(n)
	}
	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	file := filepath.Join(dir, "cert.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		log.Fatal(err)
	}
	srv.Close()
	os.Setenv("SSL_CERT_FILE", file)
	os.Setenv("HTTP_PROXY", "http://"+noProxy)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

var degraded = core.Event{
	ID: "01K9T5V4Q6Z8X2W3Y7R1N0M5PA", Type: core.EventDegraded, At: time.Date(2026, 11, 23, 9, 30, 0, 250e6, time.UTC),
	Target: "http://127.0.0.1:11434", Sentence: "the target is away: connection refused",
	Data: json.RawMessage(`{"reason":"refused","error":"connection refused","failures":3,"last_success":null}`),
}

const degradedJSON = `{"id":"01K9T5V4Q6Z8X2W3Y7R1N0M5PA","type":"degraded","at":"2026-11-23T09:30:00.25Z",` +
	`"target":"http://127.0.0.1:11434","sentence":"the target is away: connection refused",` +
	`"data":{"reason":"refused","error":"connection refused","failures":3,"last_success":null}}`

// configured is a notifier of the kind with these settings.
func configured(tb testing.TB, kind string, settings map[string]any) core.Notifier {
	tb.Helper()
	n, err := configure(tb.Context(), kind, settings)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func configure(ctx context.Context, kind string, settings map[string]any) (core.Notifier, error) {
	all := map[string]any{"type": kind, "name": "ops"}
	for key, value := range settings {
		all[key] = value
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	n, _ := New(kind)
	return n, n.Configure(ctx, raw)
}
