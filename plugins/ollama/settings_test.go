package ollama

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

func TestConfigure(t *testing.T) {
	for _, tt := range []struct {
		settings core.Settings
		want     core.Upstream
	}{
		{core.Settings{}, core.Upstream{URL: "http://127.0.0.1:11434", Header: http.Header{}}},
		{core.Settings{URL: "https://gpu.example/"}, core.Upstream{URL: "https://gpu.example", Header: http.Header{}}},
		{core.Settings{URL: "http://[::1]:1/a/b//"}, core.Upstream{URL: "http://[::1]:1/a/b", Header: http.Header{}}},
		{core.Settings{URL: "HTTP://h", Extra: []byte(` {}`)}, core.Upstream{URL: "http://h", Header: http.Header{}}},
		{core.Settings{URL: "http://h", Token: "s3cret", Extra: []byte(`null`)},
			core.Upstream{URL: "http://h", Header: http.Header{"Authorization": {"Bearer s3cret"}}}},
	} {
		got, err := New().Configure(t.Context(), tt.settings)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%+v: %v (-want +got):\n%s", tt.settings, err, diff)
		}
	}
}

func TestConfigureRefuses(t *testing.T) {
	for _, tt := range []struct {
		settings core.Settings
		says     string
	}{
		{core.Settings{URL: "127.0.0.1:11434"}, "url: not a URL"},
		{core.Settings{URL: "localhost:11434"}, "url: want http://"},
		{core.Settings{URL: "ftp://h"}, "url: want http://"},
		{core.Settings{URL: "http:///x"}, "url: has no host"},
		{core.Settings{URL: "http://:11434"}, "url: has no host"},
		{core.Settings{URL: "http://me:s3cret@h"}, "url: must not hold a user"},
		{core.Settings{URL: "http://me:s3cret#x@h"}, "url: not a URL"},
		{core.Settings{URL: "http://h/?key=s3cret"}, "url: must not hold a query"},
		{core.Settings{URL: "http://h/?"}, "url: must not hold a query"},
		{core.Settings{URL: "http://h/#s3cret"}, "url: must not hold a query or fragment"},
		{core.Settings{URL: "http://h:65536"}, "url: the port"},
		{core.Settings{URL: "http://h:0"}, "url: the port"},
		{core.Settings{URL: "http://h\n"}, "url: not a URL"},
		{core.Settings{Token: "s3cret\nX-Evil: 1"}, "token: want printable ASCII"},
		{core.Settings{Extra: []byte(`{"zeta":1,"alpha":2}`)}, `unknown setting "alpha"`},
		{core.Settings{Extra: []byte(`[]`)}, "settings: want a table"},
	} {
		_, err := New().Configure(t.Context(), tt.settings)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %q", tt.settings, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: the error tells the secret: %v", tt.settings, err)
		}
	}
}

func TestRequestsCarryPrefixAndToken(t *testing.T) {
	var path, auth string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path, auth = r.URL.Path, r.Header.Get("Authorization")
		jsonBody(`{"version":"1"}`)(w, r)
	})
	b := configured(t, core.Settings{URL: url + "/behind/proxy/", Token: "s3cret"})
	if _, err := b.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if path != "/behind/proxy/api/version" || auth != "Bearer s3cret" {
		t.Errorf("asked for %q with %q", path, auth)
	}
}
