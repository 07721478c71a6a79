package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// asks returns a client of f.
func asks(f *foreman, token string) *api.Client {
	c := api.NewClient("localhost:11435", token)
	c.Dial(f.pipes.dial)
	f.t.Cleanup(c.Close)
	return c
}

// everyCall is the error of each thing that a client can ask.
func everyCall(ctx context.Context, c *api.Client) map[string]error {
	calls := map[string]error{}
	_, calls["Health"] = c.Health(ctx)
	_, calls["RawHealth"] = c.RawHealth(ctx)
	_, calls["Models"] = c.Models(ctx, false)
	_, calls["Models, fresh"] = c.Models(ctx, true)
	_, calls["Residents"] = c.Residents(ctx, false)
	return calls
}

func TestClientReadsTheLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		models := []core.Model{model(`{"name":"me/Tiny:v1","model":"x","modified_at":"2026-11-23T08:19:04+01:00","size":9007199254740993,
			"digest":"db77","details":{"family":"llama","families":["x"],"parameter_size":"98K","quantization_level":"F16"},"future":{"name":"no"}}`)}
		residents := []core.Resident{resident(`{"name":"tiny:latest","digest":"db77","size":3,"size_vram":2,"context_length":4096,
			"expires_at":"2318-01-01T00:00:00Z","details":{"family":"x"}}`)}
		f := start(t, after(nothing(), sees(time.Now(), models, residents)), nil)
		client := asks(f, "")
		asOf := time.Now()
		time.Sleep(42 * time.Second)

		gotModels, err := client.Models(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		wantModels := api.List[core.Model]{AsOf: asOf, Models: []core.Model{{
			Name: "me/Tiny:v1", Digest: "db77", Size: 9007199254740993, Family: "llama", ParameterSize: "98K", Quantization: "F16",
			ModifiedAt: time.Date(2026, 11, 23, 7, 19, 4, 0, time.UTC),
		}}}
		if diff := cmp.Diff(wantModels, gotModels); diff != "" {
			t.Errorf("models (-want +got):\n%s", diff)
		}

		f.believe(lost(f.Snapshot()))
		gotResidents, err := client.Residents(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		wantResidents := api.List[core.Resident]{AsOf: asOf, Degraded: true, Models: []core.Resident{{
			Name: "tiny:latest", Digest: "db77", Size: 3, SizeVRAM: 2, ContextLength: 4096,
			ExpiresAt: time.Date(2318, 1, 1, 0, 0, 0, 0, time.UTC),
		}}}
		if diff := cmp.Diff(wantResidents, gotResidents); diff != "" {
			t.Errorf("residents (-want +got):\n%s", diff)
		}
	})
}

func TestClientOfAnEmptyInventory(t *testing.T) {
	client := asks(start(t, found(), nil), "")
	models, err := client.Models(t.Context(), false)
	if err != nil || len(models.Models) != 0 {
		t.Errorf("%v, %v", models, err)
	}
}

func TestClientWantsItFresh(t *testing.T) {
	f := start(t, found(), nil)
	f.recheck = func(context.Context, *core.Snapshot) *core.Snapshot { return found(named("new:latest")) }
	client := asks(f, "")
	if old, err := client.Models(t.Context(), false); err != nil || len(old.Models) != 0 {
		t.Errorf("%v, %v", old, err)
	}
	if list, err := client.Models(t.Context(), true); err != nil || len(list.Models) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestClientReadsHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, lost(found(named("a:latest"))), nil)
		client := asks(f, "")
		raw, err := client.RawHealth(t.Context())
		if err != nil || string(raw) != f.get("/healthz").body {
			t.Errorf("%s, %v", raw, err)
		}
		health, err := client.Health(t.Context())
		if err != nil || health.Status != core.Degraded || health.Inventory.Models != 1 || health.LastPoll.Reason != core.ReasonRefused {
			t.Errorf("%+v, %v", health, err)
		}
	})
}

func TestClientThatIsNotAllowed(t *testing.T) {
	f := start(t, found(), nil, withTokens)
	for token, want := range map[string]error{"": api.ErrNotAllowed, "wrong": api.ErrNotAllowed, "bob secret": nil} {
		for call, err := range everyCall(t.Context(), asks(f, token)) {
			if !errors.Is(err, want) || (err != nil && !strings.Contains(err.Error(), "a token is needed")) {
				t.Errorf("%s with token %q: %v", call, token, err)
			}
			if token != "" && err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the error tells the token: %v", err)
			}
		}
	}
	elsewhere := api.NewClient("foreman.example:1", "bob secret")
	elsewhere.Dial(f.pipes.dial)
	defer elsewhere.Close()
	if _, err := elsewhere.Health(t.Context()); !errors.Is(err, api.ErrNotAllowed) || !strings.Contains(err.Error(), "allowed_hosts") {
		t.Errorf("by a name that foreman doesn't know: %v", err)
	}
}

func TestClientOfADaemonThatKnowsNothingYet(t *testing.T) {
	client := asks(start(t, after(nothing(), fails(core.ReasonTLS)), nil), "")
	for call, err := range everyCall(t.Context(), client) {
		switch {
		case strings.HasSuffix(call, "Health"):
			if err != nil {
				t.Errorf("%s: %v", call, err)
			}
		case !errors.Is(err, api.ErrNoInventory) || !strings.Contains(err.Error(), "tls"):
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestClientWhereNothingListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	for call, err := range everyCall(t.Context(), api.NewClient(addr, "")) {
		if !errors.Is(err, api.ErrNoDaemon) || !strings.Contains(err.Error(), "http://"+addr) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// hears returns a client whose every connection is answered with text, or
// with nothing if text is "", and then closed.
func hears(text string) *api.Client {
	client := api.NewClient("localhost:11435", "")
	client.Dial(func() (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			_, _ = far.Read(make([]byte, 1<<16))
			_, _ = io.WriteString(far, text)
		}()
		return near, nil
	})
	return client
}

func TestClientWhereSomethingElseAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"nobody":                    "",
		"ssh":                       "SSH-2.0-OpenSSH_9.9\r\n",
		"zeros":                     strings.Repeat("\x00", 4096),
		"tls":                       "\x15\x03\x01\x00\x02\x02\x16",
		"an Ollama":                 "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"models\":[]}",
		"nginx":                     "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 13\r\n\r\n{\"models\":[]}",
		"a proxy that refuses":      "HTTP/1.1 503 Unavailable\r\nServer: envoy\r\nContent-Length: 0\r\n\r\n",
		"a login page":              "HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\nContent-Length: 0\r\n\r\n",
		"a header without end":      "HTTP/1.1 200 OK\r\nServer: foreman/1",
		"a foreman cut in its body": "HTTP/1.1 200 OK\r\nServer: foreman/1\r\nContent-Length: 100\r\n\r\n{\"models\":[",
		"a foreman cut in a chunk":  "HTTP/1.1 200 OK\r\nServer: foreman/1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"models\":[",
	} {
		for call, err := range everyCall(t.Context(), hears(text)) {
			if !errors.Is(err, api.ErrNoDaemon) {
				t.Errorf("%s, %s: %v", name, call, err)
			}
		}
	}
}

func TestClientOfADaemonThatTalksNonsense(t *testing.T) {
	for _, body := range []string{"", "nonsense", "{}", "[]", "null", `{"models":null}`, `{"models":{}}`, `{"error":"x"}`, `{"models`} {
		client := hears("HTTP/1.1 200 OK\r\nServer: foreman/1\r\nConnection: close\r\n\r\n" + body)
		if list, err := client.Models(t.Context(), false); err == nil {
			t.Errorf("%q is a list of models: %v", body, list)
		}
		if list, err := client.Residents(t.Context(), false); err == nil {
			t.Errorf("%q is a list of residents: %v", body, list)
		}
	}
	for status, want := range map[string]error{
		"302 Found": nil, "404 Not Found": nil, "500 Oops": nil, "403 No": api.ErrNotAllowed, "503 Not Yet": api.ErrNoInventory,
	} {
		client := hears("HTTP/1.1 " + status + "\r\nServer: foreman/1\r\nLocation: http://localhost/x\r\nConnection: close\r\n\r\n{nonsense")
		_, err := client.Health(t.Context())
		if err == nil || (want != nil && !errors.Is(err, want)) || errors.Is(err, api.ErrNoDaemon) {
			t.Errorf("%s: %v", status, err)
		}
	}
}

func TestClientOfADaemonThatHangs(t *testing.T) {
	for name, begin := range map[string]string{"at once": "", "in the body": "HTTP/1.1 200 OK\r\nServer: foreman/1\r\nContent-Length: 9\r\n\r\n{"} {
		synctest.Test(t, func(t *testing.T) {
			client := api.NewClient("localhost:11435", "")
			client.Dial(func() (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					_, _ = far.Read(make([]byte, 1<<16))
					_, _ = io.WriteString(far, begin)
					_, _ = far.Read(make([]byte, 1)) // until the client closes
					far.Close()
				}()
				return near, nil
			})
			began := time.Now()
			_, err := client.Models(t.Context(), false)
			if took := time.Since(began); !errors.Is(err, api.ErrNoDaemon) || took > 5*time.Second {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			for cause, want := range map[error]error{nil: context.Canceled, context.DeadlineExceeded: context.DeadlineExceeded} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if cause == nil {
					time.AfterFunc(500*time.Millisecond, cancel)
				}
				if _, err := client.Health(ctx); !errors.Is(err, want) || errors.Is(err, api.ErrNoDaemon) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
				cancel()
			}
		})
	}
}

func TestClientLooksWhereTheDaemonListens(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:11435": "http://127.0.0.1:11435",
		"[::1]:1":         "http://[::1]:1",
		"foreman.lan:80":  "http://foreman.lan:80",
		":11435":          "http://localhost:11435",
		"0.0.0.0:11435":   "http://localhost:11435",
		"[::]:11435":      "http://localhost:11435",
	} {
		if got := api.NewClient(listen, "").URL(); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
