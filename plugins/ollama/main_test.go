package ollama

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(tb testing.TB, s core.Settings) *Backend {
	tb.Helper()
	b := New()
	if _, err := b.Configure(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
	return b
}

func mustModels(tb testing.TB, b *Backend, known string) core.ModelList {
	tb.Helper()
	list, err := b.Models(context.Background(), known)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// serve answers every request with handler, and returns the server's URL.
func serve(tb testing.TB, handler http.HandlerFunc) string {
	tb.Helper()
	srv := httptest.NewServer(handler)
	tb.Cleanup(srv.Close)
	return srv.URL
}

// jsonBody answers every request with body.
func jsonBody(body string) http.HandlerFunc {
	return http.HandlerFunc(sim.Body("application/json; charset=utf-8", []byte(body)))
}

func startSim(tb testing.TB, models ...sim.Model) *sim.Server {
	tb.Helper()
	srv, err := sim.Start("127.0.0.1:0", sim.Options{Models: models, Instant: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := srv.Close(); err != nil {
			tb.Error(err)
		}
	})
	return srv
}
