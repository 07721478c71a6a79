package notify

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
)

func TestKinds(t *testing.T) {
	for _, kind := range []string{"log", "webhook", "command", "service"} {
		if n, ok := New(kind); n == nil || !ok {
			t.Errorf("there is no %q", kind)
		}
	}
	if n, ok := New("pigeon"); n != nil || ok {
		t.Errorf("there is a pigeon: %v", n)
	}
}

func TestConfigureRefuses(t *testing.T) {
	for _, tt := range []struct {
		kind     string
		settings map[string]any
		says     string
	}{
		{"log", map[string]any{"url": "https://s3cret.example"}, `unknown field "url"`},

		{"webhook", nil, "url: a webhook needs one"},
		{"webhook", map[string]any{"url": "https://me:s3cret@h:x/"}, "url: not a URL"},
		{"webhook", map[string]any{"url": "ftp://h/s3cret"}, "url: want https://"},
		{"webhook", map[string]any{"url": "h.example/s3cret"}, "url: want https://"},
		{"webhook", map[string]any{"url": "https:///s3cret"}, "url: has no host"},
		{"webhook", map[string]any{"url": "http://h.example/s3cret"}, "url: http:// is for private networks"},
		{"webhook", map[string]any{"url": "https://h.example/", "secret": "s3cret!"}, "secret: want base64"},
		{"webhook", map[string]any{"url": "https://h.example/", "secret": "whsec_"}, "secret: want base64"},
		{"webhook", map[string]any{"url": "https://h.example/", "argv": []string{"s3cret"}}, `unknown field "argv"`},
		{"webhook", map[string]any{"url": 7}, "settings: "},

		{"command", nil, "argv: want a command"},
		{"command", map[string]any{"argv": []string{""}}, "argv: want a command"},
		{"command", map[string]any{"argv": []string{"./page"}}, "argv: the command must be an absolute path"},
		{"command", map[string]any{"argv": []string{"sh", "s3cret\x00"}}, "argv: an argument can't hold"},

		{"service", nil, "url: a service needs one"},
		{"service", map[string]any{"url": "s3cret"}, "url: not a URL"},
		{"service", map[string]any{"url": "ntfy://h:s3cret/"}, "url: not a URL"},
		{"service", map[string]any{"url": "carrier-pigeon://s3cret@h/"}, "unknown service"},
		{"service", map[string]any{"url": "ntfy://me:s3cret@ntfy.sh"}, "url: topic is required"},
		{"service", map[string]any{"url": "ntfy://ntfy.sh/topic?s3cret=s3cret"}, "not a valid config key"},
		{"service", map[string]any{"url": "slack://s3cret"}, "url: "},
		{"service", map[string]any{"url": "ntfy+https://ntfy.sh/s3cret"}, "ntfy:// has no form with a +"},
		{"service", map[string]any{"url": "generic://127.0.0.1/s3cret"}, `use type = "webhook"`},
		{"service", map[string]any{"url": "generic+https://127.0.0.1/s3cret"}, `use type = "webhook"`},
		{"service", map[string]any{"url": "GENERIC://127.0.0.1/s3cret"}, `use type = "webhook"`},
		{"service", map[string]any{"url": "logger://"}, `use type = "log"`},
	} {
		_, err := configure(t.Context(), tt.kind, tt.settings)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %v: %v, want %q", tt.kind, tt.settings, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s %v: the error tells the secret: %v", tt.kind, tt.settings, err)
		}
	}
}

// What can't be encoded today can't be tomorrow.
func TestBrokenEventIsUndeliverable(t *testing.T) {
	event := degraded
	event.Data = json.RawMessage("{")
	for kind, settings := range map[string]map[string]any{
		"webhook": {"url": "https://127.0.0.1:1/"},
		"command": {"argv": []string{"true"}},
	} {
		if err := configured(t, kind, settings).Notify(t.Context(), event); !errors.Is(err, core.ErrUndeliverable) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
