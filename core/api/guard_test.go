package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
)

func TestHostsThatForemanAnswersTo(t *testing.T) {
	f := start(t, found(), nil, func(o *setup) { o.AllowedHosts = []string{"foreman.lan"} })
	for host, want := range map[string]int{
		"localhost":          200,
		"localhost:11435":    200,
		"LocalHost.":         200,
		"localhost.:1":       200,
		"127.0.0.1:11435":    200,
		"192.168.1.20":       200, // a name is what somebody else's DNS can point here
		"[::1]:11435":        200,
		"[::1]":              200,
		"[fe80::1%25eth0]":   200,
		"foreman.lan:11435":  200,
		"FOREMAN.lan":        200,
		"evil.example":       403,
		"evil.example:11435": 403,
		"localhost.evil.com": 403,
		"notlocalhost":       403,
		"127.0.0.1.nip.io":   403,
		"127.0.0.1@evil.com": 400,
		"evil.com:80:80":     403,
		"x.foreman.lan":      403,
		"0x7f.1":             403,
		"2130706433":         403,
		"localhost:80@evil":  400,
		".":                  403,
		":11435":             403,
		"[]":                 403,
		"[evil.example]:1":   403,
		"localhost:":         200, // RFC 3986 lets the port be empty
		"localhost:evil":     403,
		"localhost:80x":      403,
		"localhost:-1":       403,
		"localhost:65536":    403,
		"127.0.0.1:evil":     403,
		"[::1]:evil":         403,
	} {
		for _, path := range []string{"/api/tags", "/healthz", "/livez", "/"} {
			if got := f.raw("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"); got.status != want {
				t.Errorf("Host: %s, %s: %d, want %d", host, path, got.status, want)
			}
		}
	}
	got := f.get("/api/tags", "Host: evil.example")
	if want := `host "evil.example" is not allowed; add it to server.allowed_hosts`; got.native(t) != want {
		t.Errorf("said %q", got.native(t))
	}
}

func TestAWebPageOfAnotherOriginChangesNothing(t *testing.T) {
	f := start(t, found(), nil, everything)
	blob := "/api/blobs/sha256:" + strings.Repeat("0", 64)
	for _, headers := range [][]string{
		{"Origin: http://evil.example"},
		{"Origin: null"},
		{"Origin: http://localhost:3000"},
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"},
		{"Sec-Fetch-Site: cross-site", "Origin: http://localhost:11435"},
	} {
		for path, method := range map[string]string{
			"/api/pull": "POST", "/api/delete": "DELETE", "/api/show": "POST", blob: "POST", "/api/chat": "POST", "/v1/messages": "POST",
		} {
			if got := f.do(method, path, `{"model":"x"}`, headers...); got.status != 403 {
				t.Errorf("%v, %s %s: %d", headers, method, path, got.status)
			}
		}
		if got := f.get("/api/tags", headers...); got.status != 200 || got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v, GET, which the browser keeps from the page: %d %v", headers, got.status, got.header)
		}
	}
	for _, headers := range [][]string{
		{"Origin: http://localhost:11435"}, {"Sec-Fetch-Site: same-origin"}, {"Sec-Fetch-Site: none"},
	} {
		if got := f.do("POST", "/api/chat", `{}`, headers...); got.status != 400 { // it gets as far as the missing model
			t.Errorf("%v: %d", headers, got.status)
		}
	}
}

// withTokens lets in two callers.
func withTokens(o *setup) {
	o.Tokens = map[string]string{"alice": "alice-secret-0123456789", "bob": "bob secret"}
}

func TestTokens(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, withTokens)
	for header, want := range map[string]int{
		"Authorization: Bearer alice-secret-0123456789":   200,
		"Authorization: bearer  alice-secret-0123456789 ": 200,
		"Authorization: Bearer bob secret":                200,
		"X-Api-Key: alice-secret-0123456789":              200,
		"x-api-key: bob secret":                           200,

		"Accept: */*":            401,
		"Authorization: Bearer":  401,
		"Authorization: Bearer ": 401,
		"X-Api-Key: ":            401,
		"Authorization: Bearer alice-secret-012345678":   401,
		"Authorization: Bearer alice-secret-01234567890": 401,
		"Authorization: Bearer Alice-Secret-0123456789":  401,
		"Authorization: Bearer alice":                    401,
		"Authorization: Basic alice-secret-0123456789":   401,
		"Authorization: alice-secret-0123456789":         401,
		"Cookie: token=alice-secret-0123456789":          401,
		"X-Api-Key: alice-secret-0123456789,bob secret":  401,
	} {
		for _, path := range []string{"/", "/api/tags", "/api/version", "/v1/models", "/v1/models/tiny", "/healthz", "/readyz", "/nope", "/%6civez"} {
			got, want := f.get(path, header), want
			if want == 200 && (path == "/nope" || path == "/%6civez") {
				want = 404
			}
			if got.status != want {
				t.Errorf("%s, %s: %d, want %d", header, path, got.status, want)
			}
			if got.status == 401 && got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s, %s: 401 without WWW-Authenticate", header, path)
			}
		}
		if got := f.get("/livez", header); got.status != 200 {
			t.Errorf("%s, /livez: %d", header, got.status)
		}
	}
	const dummy = "Authorization: Bearer ollama" // OpenAI's libraries insist on one
	if got := f.get("/api/tags", dummy, "X-Api-Key: bob secret"); got.status != 200 {
		t.Errorf("a dummy beside the right token: %d", got.status)
	}
	if got := f.get("/api/tags?token=bob+secret&api_key=bob+secret"); got.status != 401 {
		t.Errorf("a token in the query: %d", got.status)
	}
}

func TestWithoutATokenTheRefusalHasTheCallersShape(t *testing.T) {
	const sentence = "a token is needed: send Authorization: Bearer TOKEN or x-api-key: TOKEN"
	native := `{"error":"` + sentence + `"}`
	openAI := `{"error":{"code":null,"message":"` + sentence + `","param":null,"type":"api_error"}}`
	anthropic := `{"error":{"message":"` + sentence + `","type":"authentication_error"},"type":"error"}`
	blob := "/api/blobs/sha256:" + strings.Repeat("0", 64)
	f := start(t, found(named("tiny:latest")), nil, everything, withTokens)
	for request, shape := range map[string]string{
		"POST /api/chat": native, "POST /api/generate": native, "POST /api/embed": native, "POST /api/embeddings": native,
		"POST /api/show": native, "POST /api/pull": native, "POST /api/push": native, "POST /api/create": native,
		"POST /api/copy": native, "DELETE /api/delete": native, "POST " + blob: native, "GET /api/tags": native, "GET /api/ps": native,
		"GET /healthz": native, "GET /readyz": native, "GET /": native, "GET /nope": native,
		"GET /v1/models": openAI, "GET /v1/models/tiny": openAI, "POST /v1/chat/completions": openAI, "POST /v1/completions": openAI,
		"POST /v1/embeddings": openAI, "POST /v1/responses": openAI, "GET /v1/nope": openAI,
		"POST /v1/messages": anthropic, "GET /v1/messages": anthropic,
	} {
		method, path, _ := strings.Cut(request, " ")
		for _, header := range []string{
			"Accept: */*", "Authorization: Bearer wrong", "X-Api-Key: wrong", "X-HTTP-Method-Override: GET", "X-Original-URL: /livez",
		} {
			got := f.do(method, path, `{"model":"tiny"}`, header)
			got.says(t, 401, shape)
			if !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") || got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s with %s: %v", request, header, got.header)
			}
		}
	}
}

// The target of this test is one that mustn't be asked.
func TestNoOddRequestReachesInference(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil, everything)
	for _, path := range []string{"/api/chat", "/api/generate", "/v1/chat/completions", "/v1/messages"} {
		dir, name, _ := strings.Cut(path[1:], "/")
		for request, want := range map[string]int{
			"POST /" + path:                                          404,
			"POST /" + dir + "//" + name:                             404,
			"POST " + path + "/":                                     404,
			"POST /x/.." + path:                                      404,
			"POST /" + dir + "/./" + name:                            404,
			"POST " + path + "/../pull":                              404,
			"POST " + path + "%2f..":                                 404,
			"POST /" + dir + "%2F" + name:                            404,
			fmt.Sprintf("POST /%s/%%%02x%s", dir, name[0], name[1:]): 404,
			"POST " + strings.ToUpper(path):                          404,
			"POST " + path + ";x=1":                                  404,
			"POST " + path + "%00":                                   404,
			"POST " + path + "%20":                                   404,
			"POST /" + dir + "\\" + name:                             404,
			"POST http://evil.example" + path:                        403,
			"POST http://localhost/" + path:                          404,
			"GET " + path + "\r\nX-HTTP-Method-Override: POST":       405,
			"post " + path:                                           405,
			"PUT " + path:                                            405,
		} {
			line, override, _ := strings.Cut(request, "\r\n")
			header := []string{"Host: localhost", "Content-Length: 16"}
			if override != "" {
				header = append(header, override)
			}
			got := f.raw(line + " HTTP/1.1\r\n" + strings.Join(header, "\r\n") + "\r\n\r\n" + `{"model":"tiny"}`)
			if got.status != want {
				t.Errorf("%s: %d %s, want %d", request, got.status, got.body, want)
			}
		}
	}
}

func TestAnEmptyTokenIsNobodys(t *testing.T) {
	f := start(t, found(), nil, func(o *setup) { o.Tokens = map[string]string{"alice": ""} })
	for _, header := range []string{"Accept: */*", "X-Api-Key: ", "Authorization: Bearer "} {
		if got := f.get("/api/tags", header); got.status != 401 {
			t.Errorf("%s: %d", header, got.status)
		}
	}
}

func TestTokensAreNowhereToBeSeen(t *testing.T) {
	var f *foreman
	broken := func(o *setup) {
		o.Upstream = func() (core.Upstream, error) { return core.Upstream{}, errors.New("broken") }
	}
	f = start(t, found(), nil, everything, withTokens, broken)
	var seen strings.Builder
	for _, token := range []string{"alice-secret-0123456789", "wrong-alice-secret-0123456789"} {
		for _, method := range []string{"GET", "POST"} {
			for _, path := range []string{"/", "/healthz", "/readyz?verbose", "/nope", "/api/show", "/api/pull", "/v1/messages", "/v1/models/x"} {
				for _, header := range []string{"Authorization: Bearer ", "X-Api-Key: "} {
					got := f.do(method, path, `{"model":"x"}`, header+token)
					fmt.Fprintln(&seen, got.status, got.header, got.body)
				}
			}
		}
	}
	seen.WriteString(f.log.String())
	if !strings.Contains(seen.String(), "500") || !strings.Contains(f.log.String(), "broken") {
		t.Errorf("nothing went wrong, so nothing was logged: %s", f.log)
	}
	if strings.Contains(seen.String(), "alice-secret") {
		t.Errorf("a token was told:\n%s", seen.String())
	}
}
