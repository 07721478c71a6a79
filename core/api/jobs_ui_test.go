package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// pages answer with what they were asked.
func pages(o *setup) {
	o.JobsUI = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, " ", r.URL.Path) })
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// A browser can't send a token as programs do.
func TestATokenIsThePasswordOfTheJobsPages(t *testing.T) {
	f := start(t, tiny(), nil, withTokens, pages, newShelf().options)
	for header, want := range map[string]int{
		basic("", "bob secret"):                         200,
		basic("alice", "alice-secret-0123456789"):       200,
		basic("whoever", "bob secret"):                  200,
		"X-Api-Key: bob secret":                         200,
		"Authorization: Bearer alice-secret-0123456789": 200,

		basic("bob secret", ""):        401,
		basic("bob", ""):               401,
		basic("bob", "wrong"):          401,
		"Accept: */*":                  401,
		"Authorization: Basic x":       401,
		"Authorization: Basic bob":     401,
		"Cookie: password=bob secret":  401,
		"Authorization: Bearer wrong!": 401,
	} {
		for _, path := range []string{"/jobs/ui", "/jobs/ui/", "/jobs/ui/api/jobs?state=running", "/jobs/ui/../../api/tags"} {
			got := f.get(path, header)
			if got.status != want {
				t.Errorf("%s, %s: %d, want %d", header, path, got.status, want)
			}
			if challenge := got.header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Basic ") != (want == 401) {
				t.Errorf("%s, %s: %q", header, path, challenge)
			}
		}
	}
	for _, path := range []string{"/jobs", "/jobs/uix", "/jobs/x", "/jobs/x/result", "/queue", "/api/tags", "/healthz", "/jobs/%75i/", "/v1/models/jobs/ui/"} {
		got := f.get(path, basic("bob", "bob secret"))
		if got.status != 401 || got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s takes a password: %d %v", path, got.status, got.header)
		}
	}
}

func TestTheJobsPagesAreGuarded(t *testing.T) {
	f := start(t, tiny(), nil, pages)
	got := f.get("/jobs/ui/jobs")
	if got.status != 200 || got.body != "GET /jobs/ui/jobs" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'self'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("%q", policy)
	}
	if got := f.get("/jobs/ui/", "Host: evil.example"); got.status != 403 {
		t.Errorf("another host: %d", got.status)
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if got := f.do(method, "/jobs/ui/api/jobs", "{}", "Origin: http://evil.example"); got.status != 403 {
			t.Errorf("%s by a page of another origin: %d", method, got.status)
		}
		if got := f.do(method, "/jobs/ui/api/jobs", "{}"); got.body != method+" /jobs/ui/api/jobs" {
			t.Errorf("%s: %d %s", method, got.status, got.body)
		}
	}
}
