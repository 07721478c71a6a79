package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

func startsWith(s, prefix string) bool { return strings.HasPrefix(s, prefix) }

// everything turns on all there is to serve.
func everything(o *setup) { o.OpenAI, o.Management = true, true }

func TestAnUnknownRouteIsAJSON404(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, everything)
	for _, path := range []string{
		"/nope", "/api", "/api/", "/api/tagsx", "/v1", "/v2/models", "/favicon.ico",
		"/API/tags", "/api/Tags", "/V1/models", "/LIVEZ",
		"/api/tags/", "/v1/models/", "/api/blobs/", "/healthz/", "/api/blobs",
		"//api/tags", "/api//tags", "//", "/./api/tags", "/x/../api/tags", "/api/../api/tags", "/api/show/..", "/api/pull/../tags",
		"/api%2Ftags", "/api/t%61gs", "/%61pi/tags", "/api/tags%00", "/%2e/api/tags", "/v1%2Fmodels", "/v1/models%2Ftiny",
		"/api/delete%2F", "/api/%70ull", "/healthz%20", "/api/tags;x=1", "/api\\tags",
		"http://localhost/nope", "http://localhost//api/tags",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			got := f.raw(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
			if got.status != 404 || got.header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("%s %s: %d %v", method, path, got.status, got.header)
			}
			if method != "HEAD" && !json.Valid([]byte(got.body)) {
				t.Errorf("%s %s: %s isn't JSON", method, path, got.body)
			}
		}
	}
}

func TestAWrongMethodIsA405WithAllow(t *testing.T) {
	f := start(t, found(), nil, everything)
	blob := "/api/blobs/sha256:" + strings.Repeat("0", 64)
	for path, allow := range map[string]string{
		"/": "GET, HEAD", "/api/version": "GET, HEAD", "/api/tags": "GET, HEAD", "/api/ps": "GET, HEAD",
		"/healthz": "GET, HEAD", "/livez": "GET, HEAD", "/readyz": "GET, HEAD",
		"/v1/models": "GET, HEAD", "/v1/models/me/tiny:v1": "GET, HEAD",
		"/api/show": "POST", "/api/pull": "POST", "/api/push": "POST", "/api/create": "POST", "/api/copy": "POST",
		"/api/generate": "POST", "/api/chat": "POST", "/v1/chat/completions": "POST",
		"/api/delete": "DELETE", blob: "HEAD, POST",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "get", "Get", "PROPFIND", "X"} {
			if strings.Contains(", "+allow+",", ", "+method+",") {
				continue
			}
			got := f.raw(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if got.status != 405 || got.header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q; want 405, %q", method, path, got.status, got.header.Get("Allow"), allow)
			}
		}
	}
}

func TestNoHeaderChangesWhatARequestIs(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, everything)
	plain := f.get("/api/tags")
	got := f.get("/api/tags",
		"X-HTTP-Method-Override: DELETE", "X-Method-Override: POST", "X-HTTP-Method: DELETE", "_method: DELETE",
		"X-Original-URL: /api/delete", "X-Rewrite-URL: /api/pull", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example")
	if got.status != 200 || got.body != plain.body {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := f.do("POST", "/api/tags", `_method=GET`, "X-HTTP-Method-Override: GET"); got.status != 405 {
		t.Errorf("POST that wants to be a GET: %d", got.status)
	}
}

func TestOddRequestLines(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, everything)
	for request, want := range map[string]int{
		"GET http://localhost:11435/api/tags HTTP/1.1\r\nHost: localhost":                200,
		"GET http://localhost:11435/api/tags HTTP/1.1\r\nHost: evil.example":             200, // RFC 9112: the URL's host is the one
		"GET http://evil.example/api/tags HTTP/1.1\r\nHost: localhost":                   403,
		"GET http://user:pass@evil.example/ HTTP/1.1\r\nHost: localhost":                 403,
		"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80":                            404,
		"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80":                      403,
		"CONNECT /api/pull HTTP/1.1\r\nHost: localhost":                                  405,
		"OPTIONS * HTTP/1.1\r\nHost: localhost":                                          404,
		"OPTIONS * HTTP/1.1\r\nHost: evil.example":                                       403,
		"GET * HTTP/1.1\r\nHost: localhost":                                              404,
		"GET /api/tags HTTP/1.1\r\nHost:":                                                403,
		"GET /api/tags HTTP/1.1":                                                         400,
		"GET /api/tags HTTP/1.0":                                                         403,
		"GET /api/tags HTTP/1.0\r\nHost: localhost":                                      200,
		"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nHost: evil.example":                400,
		"GET /api/tags HTTP/1.1\r\nHost: local\x00host":                                  400,
		"GET /%zz HTTP/1.1\r\nHost: localhost":                                           400,
		"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip":           501,
		"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 70<<10): 431,
		"PRI * HTTP/2.0\r\n\r\nSM":                                                       403,
	} {
		if got := f.raw(request + "\r\n\r\n"); got.status != want {
			t.Errorf("%q: %d %s, want %d", request[:min(len(request), 80)], got.status, got.body, want)
		}
	}
}

func TestErrorsHaveTheShapeThatTheCallersClientParses(t *testing.T) {
	f := start(t, found(), nil)
	for _, c := range []struct {
		method, path, header, anthropicType string
		status                              int
	}{
		{"GET", "/v1/messages", "Accept: */*", "invalid_request_error", 405},
		{"POST", "/v1/messages", "Host: evil.example", "permission_error", 403},
	} {
		got := f.do(c.method, c.path, "", c.header)
		var body struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.Error.Message == "" ||
			got.status != c.status || body.Type != "error" || body.Error.Type != c.anthropicType {
			t.Errorf("%s %s: %d %s (%v)", c.method, c.path, got.status, got.body, err)
		}
	}
	if got := f.get("/v1/models", "Host: evil.example"); got.status != 403 || openAIMessage(t, got) == "" {
		t.Errorf("/v1/models: %d %s", got.status, got.body)
	}
	if got := f.get("/api/tags", "Host: evil.example"); got.status != 403 || got.native(t) == "" {
		t.Errorf("/api/tags: %d %s", got.status, got.body)
	}
}

func TestAnInternalErrorStaysInsideAndInTheLog(t *testing.T) {
	f := start(t, found(), nil, everything, func(o *setup) {
		o.Upstream = func() (core.Upstream, error) { return core.Upstream{}, errors.New("open /var/lib/secret: no") }
	})
	f.do("POST", "/api/pull", `{}`).says(t, 500, `{"error":"internal error; foreman's log says more"}`)
	if log := f.log.String(); !strings.Contains(log, "/var/lib/secret") || !strings.Contains(log, "/api/pull") {
		t.Errorf("the log has only: %s", log)
	}
}

func TestRunEndsAtOnceWhenNobodyIsServed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := api.New(api.Deps{Inventory: &inventory{snapshot: found()}}, api.Options{}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Run(ctx, listener) }()
	client := http.Client{Transport: &http.Transport{}}
	resp, err := client.Get("http://" + listener.Addr().String() + "/livez") // its connection stays open, idle
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, resp); got.status != 200 || got.body != "ok\n" {
		t.Errorf("%d %q", got.status, got.body)
	}
	began := time.Now()
	cancel()
	if err := <-stopped; err != nil || time.Since(began) > time.Second {
		t.Errorf("Run: %v, after %v", err, time.Since(began))
	}
	again, err := net.Listen("tcp", listener.Addr().String())
	if err != nil {
		t.Fatalf("the port isn't free: %v", err)
	}
	again.Close()
}

func TestRunTellsWhyItCantServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	server := api.New(api.Deps{Inventory: &inventory{snapshot: found()}}, api.Options{}, slog.New(slog.DiscardHandler))
	if err := server.Run(t.Context(), listener); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

func TestStoppingLetsRequestsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.recheck = func(context.Context, *core.Snapshot) *core.Snapshot {
			f.stop()
			time.Sleep(time.Second)
			return found(named("tiny:latest"))
		}
		if got := f.get("/api/tags"); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
		<-f.stopped
	})
}

func TestStoppingDoesNotWaitForeverForAnybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, nothing(), nil)
		f.recheck = func(ctx context.Context, s *core.Snapshot) *core.Snapshot {
			<-ctx.Done() // only a closed connection ends this
			return s
		}
		silent, waiting := f.dial(), f.dial()
		defer silent.Close()
		defer waiting.Close()
		if _, err := waiting.Write([]byte("GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		f.stop()
		<-f.stopped
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Run took %v to end", took)
		}
	})
}
