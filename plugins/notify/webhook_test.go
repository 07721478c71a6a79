package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/seed-af7fee88/foreman/core"
)

// A received request, as a receiver sees it.
type received struct {
	method, uri, user, password string
	header                      http.Header
	body                        []byte
}

// receive serves one answer, and returns the requests that came.
func receive(tb testing.TB, code int) (*httptest.Server, *[]received) {
	tb.Helper()
	var all []received
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tb.Error(err)
		}
		got := received{method: r.Method, uri: r.RequestURI, header: r.Header, body: body}
		got.user, got.password, _ = r.BasicAuth()
		all = append(all, got)
		w.WriteHeader(code)
	}))
	tb.Cleanup(srv.Close)
	return srv, &all
}

func TestWebhookIsASignedCloudEvent(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	srv, got := receive(t, http.StatusNoContent)
	n := configured(t, "webhook", map[string]any{
		"url":    strings.Replace(srv.URL, "://", "://me:s3cret@", 1) + "/hooks/a?key=b",
		"secret": secret, "allow_private": true,
	})
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Fatal(err)
	}
	if len(*got) != 1 {
		t.Fatalf("%d requests, want 1", len(*got))
	}
	req := (*got)[0]
	verifier, err := webhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(req.body, req.header); err != nil {
		t.Error(err)
	}
	if req.method != "POST" || req.uri != "/hooks/a?key=b" || req.user != "me" || req.password != "s3cret" {
		t.Errorf("asked with %s %s as %s:%s", req.method, req.uri, req.user, req.password)
	}
	if id := req.header.Get("webhook-id"); id != degraded.ID {
		t.Errorf("webhook-id is %q, want the event's", id)
	}
	if agent := req.header.Get("User-Agent"); !strings.HasPrefix(agent, "foreman") {
		t.Errorf("User-Agent is %q", agent)
	}
	if kind := req.header.Get("Content-Type"); kind != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("Content-Type is %q", kind)
	}
	want := `{"specversion":"1.0","id":"01K9T5V4Q6Z8X2W3Y7R1N0M5PA","source":"http://127.0.0.1:11434",` +
		`"type":"foreman.degraded","time":"2026-11-23T09:30:00.25Z","datacontenttype":"application/json","data":` + degradedJSON + `}`
	if diff := cmp.Diff(want, string(req.body)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestWebhookWithoutSecretOrTarget(t *testing.T) {
	srv, got := receive(t, http.StatusOK)
	event := degraded
	event.Target = ""
	n := configured(t, "webhook", map[string]any{"url": srv.URL, "allow_private": true})
	if err := n.Notify(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	req := (*got)[0]
	if signature, ok := req.header["Webhook-Signature"]; ok {
		t.Errorf("it is signed with nothing: %q", signature)
	}
	var cloud struct{ Source string }
	if err := json.Unmarshal(req.body, &cloud); err != nil || cloud.Source != "foreman" {
		t.Errorf("source is %q (%v); CloudEvents want one", cloud.Source, err)
	}
}

func TestWebhookSecure(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	n := configured(t, "webhook", map[string]any{"url": srv.URL, "allow_private": true})
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Error(err)
	}
	n = configured(t, "webhook", map[string]any{"url": strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), "allow_private": true})
	if err := n.Notify(t.Context(), degraded); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate for another name: %v", err)
	}
}

// What a receiver says of the event is for good; what it says of the address,
// the password or the moment isn't.
func TestWebhookAnswers(t *testing.T) {
	const sent, again, never = "sent", "again", "never"
	for code, want := range map[int]string{
		200: sent, 201: sent, 202: sent, 204: sent, 207: sent,
		301: again, 302: again, 304: again, 307: again,
		400: never, 409: never, 410: never, 413: never, 415: never, 422: never,
		401: again, 403: again, 404: again, 405: again, 408: again, 425: again, 429: again,
		500: again, 502: again, 503: again, 599: again,
	} {
		srv, _ := receive(t, code)
		n := configured(t, "webhook", map[string]any{"url": srv.URL + "/s3cret?s3cret", "allow_private": true})
		err := n.Notify(t.Context(), degraded)
		got := sent
		if errors.Is(err, core.ErrUndeliverable) {
			got = never
		} else if err != nil {
			got = again
		}
		if got != want {
			t.Errorf("%d: %s (%v), want %s", code, got, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), srv.URL)) {
			t.Errorf("%d: want the server and no secret in the error: %v", code, err)
		}
	}
}

func TestWebhookFollowsNoRedirect(t *testing.T) {
	elsewhere, got := receive(t, http.StatusOK)
	srv := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/s3cret", http.StatusTemporaryRedirect))
	defer srv.Close()
	n := configured(t, "webhook", map[string]any{"url": srv.URL, "allow_private": true})
	err := n.Notify(t.Context(), degraded)
	if want := srv.URL + " answered 307, a redirect to " + elsewhere.URL + ": "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if len(*got) > 0 {
		t.Error("it was followed")
	}
}

func TestWebhookAsksNoProxy(t *testing.T) {
	n := configured(t, "webhook", map[string]any{"url": "http://foreman.invalid/", "allow_private": true})
	if err := n.Notify(t.Context(), degraded); err == nil || strings.Contains(err.Error(), noProxy) {
		t.Errorf("the proxy of the environment was asked: %v", err)
	}
}

func TestWebhookUnanswered(t *testing.T) {
	srv, _ := receive(t, http.StatusOK)
	srv.Close()
	n := configured(t, "webhook", map[string]any{"url": strings.Replace(srv.URL, "://", "://me:s3cret@", 1) + "/s3cret", "allow_private": true})
	err := n.Notify(t.Context(), degraded)
	if err == nil || !strings.HasPrefix(err.Error(), srv.URL+": ") || !strings.Contains(err.Error(), "refused") ||
		strings.Contains(err.Error(), "s3cret") || errors.Is(err, core.ErrUndeliverable) {
		t.Errorf("nobody listens: %v", err)
	}
}

// A receiver that is silent, or says ever more, costs no more than the context.
func TestWebhookEndsWithItsContext(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"silent": func(http.ResponseWriter) {},
		"endless body": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				answer(w)
				cancel()
				<-over
			}))
			defer srv.Close()
			defer close(over)
			n := configured(t, "webhook", map[string]any{"url": srv.URL, "allow_private": true})
			failed := make(chan error, 1)
			go func() { failed <- n.Notify(ctx, degraded) }()
			select {
			case err := <-failed:
				if err == nil || errors.Is(err, core.ErrUndeliverable) {
					t.Errorf("%v, want an error after which it is sent again", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it waits on")
			}
		})
	}
}

func TestWebhookIsGuardedAfterDNS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request came through")
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"} {
		n := configured(t, "webhook", map[string]any{"url": "https://" + host + ":" + u.Port() + "/"})
		if err := n.Notify(t.Context(), degraded); err == nil || !strings.Contains(err.Error(), "needs allow_private = true") {
			t.Errorf("%s: %v", host, err)
		}
	}
	n := configured(t, "webhook", map[string]any{"url": "https://169.254.169.254/", "allow_private": true})
	if err := n.Notify(t.Context(), degraded); err == nil || !strings.Contains(err.Error(), "never reach") {
		t.Errorf("metadata: %v", err)
	}
}

func TestCallbackPostsWhereTheEventSays(t *testing.T) {
	srv, got := receive(t, http.StatusOK)
	n := configured(t, "callback", map[string]any{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "allow_private": true})
	event := degraded
	event.Data = json.RawMessage(`{"id":"J","webhook":` + strconv.Quote(srv.URL+"/hook") + `}`)
	if err := n.Notify(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if len(*got) != 1 || (*got)[0].uri != "/hook" || strings.Contains(string((*got)[0].body), "webhook") {
		t.Errorf("it got %+v", *got)
	}
}

func TestCallbackRefusesAnAddressForGood(t *testing.T) {
	for _, data := range []string{
		`{}`, `{"webhook":5}`, `{"webhook":""}`, `{"webhook":"ftp://h/"}`, `{"webhook":"http://example.org/"}`, `[]`,
	} {
		n := configured(t, "callback", nil)
		event := degraded
		event.Data = json.RawMessage(data)
		if err := n.Notify(t.Context(), event); !errors.Is(err, core.ErrUndeliverable) {
			t.Errorf("%s: %v", data, err)
		}
	}
	// An address in a private network is no mistake of the event's shape, and
	// isn't reached either.
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer srv.Close()
	n := configured(t, "callback", nil)
	event := degraded
	event.Data = json.RawMessage(`{"webhook":` + strconv.Quote(srv.URL) + `}`)
	if err := n.Notify(t.Context(), event); err == nil {
		t.Error("a private address was accepted")
	}
}
