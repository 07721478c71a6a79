package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const page = "https://app.example"

func withOrigins(o *setup) { o.Origins = []string{page, "http://localhost:3000"} }

// corsHeaders are what an answer tells a browser, without their common prefix.
func corsHeaders(a answer) map[string]string {
	told := map[string]string{}
	for name := range a.header {
		if rest, ok := strings.CutPrefix(name, "Access-Control-"); ok {
			told[rest] = strings.Join(a.header[name], " | ")
		}
	}
	return told
}

func TestAListedPageReadsEveryAnswer(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, everything, withTokens, withOrigins)
	const token = "Authorization: Bearer bob secret"
	for _, c := range []struct {
		method, path, body, header string
		status                     int
	}{
		{"GET", "/api/tags", "", token, 200},
		{"GET", "/v1/models", "", token, 200},
		{"GET", "/livez", "", "Accept: */*", 200},
		{"POST", "/api/show", `{}`, token, 400},
		{"POST", "/api/chat", `{}`, token, 400},
		{"POST", "/v1/messages", `nonsense`, token, 400},
		{"GET", "/api/tags", "", "Authorization: Bearer wrong", 401},
		{"POST", "/v1/chat/completions", `{}`, "Authorization: Bearer wrong", 401},
		{"GET", "/nope", "", token, 404},
		{"GET", "/api/chat", "", token, 405},
	} {
		for _, origin := range []string{page, "http://localhost:3000"} {
			got := f.do(c.method, c.path, c.body, c.header, "Origin: "+origin, "Sec-Fetch-Site: cross-site")
			cors := corsHeaders(got)
			if got.status != c.status || cors["Allow-Origin"] != origin || cors["Allow-Credentials"] != "" ||
				!strings.Contains(cors["Expose-Headers"], "Retry-After") || got.header.Get("Vary") != "Origin" {
				t.Errorf("%s %s from %s: %d, want %d; %v", c.method, c.path, origin, got.status, c.status, got.header)
			}
		}
		got := f.do(c.method, c.path, c.body, c.header)
		if got.status != c.status || len(corsHeaders(got)) != 0 || got.header.Get("Vary") != "Origin" {
			t.Errorf("%s %s of no page: %d %v", c.method, c.path, got.status, got.header)
		}
	}
}

func TestAListedPageMayAskBeforehandWithoutAToken(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, everything, withTokens, withOrigins)
	const wanted = "authorization,content-type,x-stainless-lang"
	for path, methods := range map[string]string{
		"/api/tags": "GET, HEAD", "/v1/models/me/tiny": "GET, HEAD", "/api/show": "POST", "/api/chat": "POST",
		"/v1/chat/completions": "POST", "/v1/messages": "POST", "/api/delete": "DELETE",
	} {
		got := f.do("OPTIONS", path, "", "Origin: "+page, "Access-Control-Request-Method: POST",
			"Access-Control-Request-Headers: "+wanted, "Sec-Fetch-Site: cross-site")
		cors := corsHeaders(got)
		if got.status != 204 || got.body != "" || cors["Allow-Origin"] != page || cors["Allow-Methods"] != methods ||
			cors["Allow-Headers"] != wanted || cors["Max-Age"] == "" || !strings.Contains(strings.Join(got.header["Vary"], ","), "Origin") {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
	}
	for request, want := range map[string]int{
		"OPTIONS /nope":      404,
		"OPTIONS //api/tags": 404,
		"OPTIONS *":          404,
		"POST /api/chat":     401, // only OPTIONS asks beforehand
		"GET /api/tags":      401,
	} {
		got := f.raw(request + " HTTP/1.1\r\nHost: localhost\r\nOrigin: " + page + "\r\nAccess-Control-Request-Method: POST\r\n\r\n")
		if got.status != want {
			t.Errorf("%s: %d, want %d", request, got.status, want)
		}
	}
	if got := f.do("OPTIONS", "/api/tags", "", "Origin: "+page); got.status != 401 {
		t.Errorf("OPTIONS that asks for nothing: %d", got.status)
	}
	got := f.do("OPTIONS", "/api/tags", "", "Origin: "+page, "Access-Control-Request-Method: GET", "Host: evil.example")
	if got.status != 403 {
		t.Errorf("OPTIONS of a host that isn't allowed: %d", got.status)
	}
}

func TestOtherPagesStayRefused(t *testing.T) {
	listed := start(t, found(named("tiny:latest")), nil, everything, withOrigins)
	none := start(t, found(named("tiny:latest")), nil, everything)
	for _, origin := range []string{
		"https://evil.example", "null", "*", "http://app.example", "https://app.example:8443", "https://app.example/", "HTTPS://APP.EXAMPLE",
		"https://x.app.example", "https://app.example.evil", "https://evil/https://app.example", "https://app.example https://evil", "",
	} {
		for name, f := range map[string]*foreman{"other origins are listed": listed, "none are": none} {
			asking := []string{"Origin: " + origin, "Sec-Fetch-Site: cross-site"}
			for request, want := range map[string]int{
				"POST /api/chat": 403, "POST /v1/messages": 403, "DELETE /api/delete": 403, "OPTIONS /api/chat": 405, "GET /api/tags": 200,
			} {
				method, path, _ := strings.Cut(request, " ")
				got := f.do(method, path, `{"model":"tiny"}`, append(asking, "Access-Control-Request-Method: POST")...)
				if got.status != want || len(corsHeaders(got)) != 0 {
					t.Errorf("%q, %s, %s: %d, want %d; %v", origin, name, request, got.status, want, got.header)
				}
			}
		}
	}
	if got := none.do("OPTIONS", "/api/chat", "", "Origin: "+page, "Access-Control-Request-Method: POST"); got.status != 405 {
		t.Errorf("asking beforehand, though no origin is listed: %d", got.status)
	}
	if got := none.get("/api/tags", "Origin: "+page); len(corsHeaders(got)) != 0 || got.header.Get("Vary") != "" {
		t.Errorf("CORS though no origin is listed: %v", got.header)
	}
}

func TestWhatTheTargetSaysOfOriginsStaysWithTheTarget(t *testing.T) {
	target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" {
			t.Errorf("%s: the target saw the origin %s", r.URL.Path, origin)
		}
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Vary", "Accept-Encoding")
		_, _ = io.WriteString(w, "{}")
	})
	f := start(t, found(named("tiny:latest")), target, everything, withOrigins)
	for path, method := range map[string]string{"/api/chat": "POST", "/v1/messages": "POST", "/api/pull": "POST", "/api/delete": "DELETE"} {
		got := f.do(method, path, `{"model":"tiny"}`, "Origin: "+page, "Sec-Fetch-Site: cross-site")
		cors := corsHeaders(got)
		if vary := strings.Join(got.header["Vary"], ","); got.status != 200 || cors["Allow-Origin"] != page ||
			cors["Allow-Credentials"] != "" || vary != "Origin,Accept-Encoding" {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
		if got := f.do(method, path, `{"model":"tiny"}`); got.status != 200 || len(corsHeaders(got)) != 0 {
			t.Errorf("%s of no page: %d %v", path, got.status, got.header)
		}
	}
}
