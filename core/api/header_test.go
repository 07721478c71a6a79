package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

func TestHeadersThatTheTargetGets(t *testing.T) {
	for _, tt := range []struct{ sent, got string }{
		{"Accept: text/event-stream", "text/event-stream"},
		{"Anthropic-Version: 2023-06-01", "2023-06-01"},
		{"User-Agent: ollama/1", "ollama/1"},
		{"Content-Type: application/json", "application/json"},
		{"Idempotency-Key: k", "k"},
		{"Authorization: Bearer bob secret", "Bearer the-targets"},
		{"X-Api-Key: bob secret", ""},
		{"Cookie: a=b", ""},
		{"Origin: http://localhost:11435", ""},
		{"Referer: http://localhost:11435/x", ""},
		{"Sec-Fetch-Site: same-origin", ""},
		{"Accept-Encoding: br", ""},
		{"Te: trailers", ""},
		{"Upgrade: websocket", ""},
		{"Keep-Alive: timeout=5", ""},
		{"Proxy-Connection: keep-alive", ""},
		{"Proxy-Authorization: Basic x", ""},
		{"Expect: 100-continue", ""},
		{"X-Http-Method-Override: DELETE", ""},
		{"X-Method-Override: DELETE", ""},
		{"X-Original-Url: /api/delete", ""},
		{"X-Mine: y", ""}, // named by Connection
		{"X-Other: y", "y"},
	} {
		var header http.Header
		f := start(t, tiny(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header = r.Header }), func(o *setup) {
			o.Upstream = func() (core.Upstream, error) {
				return core.Upstream{URL: upstream, Header: http.Header{"Authorization": {"Bearer the-targets"}}}, nil
			}
		})
		if got := f.do("POST", "/api/chat", asksTiny, tt.sent, "Connection: keep-alive, x-mine", "User-Agent: "); got.status != 200 {
			t.Errorf("%s: %d %s", tt.sent, got.status, got.body)
		}
		name, _, _ := strings.Cut(tt.sent, ":")
		if got := strings.Join(header[name], "|"); got != tt.got {
			t.Errorf("%s: the target got %q, want %q", tt.sent, got, tt.got)
		}
		delete(header, name)
		want := http.Header{"Authorization": {"Bearer the-targets"}, "Content-Length": {fmt.Sprint(len(asksTiny))}}
		delete(want, name)
		if diff := cmp.Diff(want, header); diff != "" {
			t.Errorf("%s: the target got besides (-want +got):\n%s", tt.sent, diff)
		}
	}
}

func TestHeadersThatTheCallerGets(t *testing.T) {
	f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range []string{
			"Server: someone/else", "Connection: X-Mine", "X-Mine: y", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic",
			"Upgrade: h2c", "Trailer: X-Late", "Access-Control-Allow-Origin: *", "X-Request-Id: 1", "X-Request-Id: 2",
			"Content-Type: application/x-ndjson", "Date: Mon, 23 Nov 2026 08:19:04 GMT",
		} {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, value)
		}
		flush(w)
		fmt.Fprint(w, "{}")
	}))
	want := http.Header{
		"Server": {"foreman/1.2.3"}, "X-Request-Id": {"1", "2"}, "Content-Type": {"application/x-ndjson"},
		"X-Accel-Buffering": {"no"}, "Date": {"Mon, 23 Nov 2026 08:19:04 GMT"},
	}
	if diff := cmp.Diff(want, f.do("POST", "/api/chat", asksTiny).header); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
