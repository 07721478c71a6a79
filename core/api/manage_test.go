package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// management is every request that changes what is installed.
var management = []string{
	"POST /api/pull", "POST /api/push", "POST /api/create", "POST /api/copy", "DELETE /api/delete",
	"POST /api/blobs/sha256:" + digest, "HEAD /api/blobs/sha256:" + digest,
}

func TestManagementIsOffUnlessAllowed(t *testing.T) {
	f := start(t, found(core.Model{Name: "tiny:latest", Raw: []byte(`{}`)}), nil)
	for _, request := range append(slices.Clone(management), "POST /api/blobs/anything/../else") {
		method, path, _ := strings.Cut(request, " ")
		got := f.do(method, path, `{"model":"tiny"}`)
		if got.status != 403 {
			t.Errorf("%s: %d", request, got.status)
		}
		want := "foreman doesn't manage models here: run this on the target itself, or set server.management = true in foreman's config"
		if method != "HEAD" && got.native(t) != want {
			t.Errorf("%s: %s", request, got.body)
		}
	}
	if rechecks, nudges := f.asked(); rechecks+nudges != 0 {
		t.Error("a refused request made foreman look at the target")
	}
}

func TestDeniedPullOfAMissingModelSaysWhatMayBeMeant(t *testing.T) {
	f := start(t, found(core.Model{Name: "tiny:latest", Raw: []byte(`{}`)}), nil)
	got := f.do("POST", "/api/pull", `{"name":"tinny"}`)
	if said := got.native(t); got.status != 403 ||
		!strings.HasPrefix(said, "model 'tinny' not found; did you mean 'tiny:latest'") || !strings.Contains(said, "foreman doesn't manage models here") {
		t.Errorf("%d %s", got.status, said)
	}
}

func TestManagementPassesThrough(t *testing.T) {
	var got, want []string
	var header http.Header
	target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s http://%s%s %s", r.Method, r.Host, r.URL, body))
		header = r.Header
		w.Header().Set("Server", "someone/else")
		w.Header().Set("X-Its-Own", "yes")
		w.WriteHeader(201)
		fmt.Fprint(w, `{"status":"success"}`)
	})
	f := start(t, found(), target, everything, withTokens, func(o *setup) {
		o.Upstream = func() (core.Upstream, error) {
			return core.Upstream{URL: upstream + "/base", Header: http.Header{"Authorization": {"Bearer the-targets"}}}, nil
		}
	})
	for _, request := range management {
		method, path, _ := strings.Cut(request, " ")
		body := "data of " + path
		if method == "HEAD" {
			body = ""
		}
		answered := f.do(method, path+"?a=b", body, "Content-Type: application/x-ndjson", "Authorization: Bearer bob secret",
			"X-Api-Key: bob secret", "Cookie: a=b", "User-Agent: ollama/1", "Referer: http://localhost/", "Connection: keep-alive, X-Its-Own",
			"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Upgrade: websocket", "Te: trailers", "Accept-Encoding: br")
		want = append(want, method+" http://ollama.test:11434/base"+path+"?a=b "+body)
		if answered.status != 201 || answered.header.Get("X-Its-Own") != "yes" || !slices.Equal(answered.header["Server"], []string{"foreman/1.2.3"}) {
			t.Errorf("%s: answered %d %v", request, answered.status, answered.header)
		}
		if method != "HEAD" && answered.body != `{"status":"success"}` {
			t.Errorf("%s: answered %s", request, answered.body)
		}
		header.Del("Content-Length")
		wantHeader := http.Header{"Authorization": {"Bearer the-targets"}, "Content-Type": {"application/x-ndjson"}}
		if diff := cmp.Diff(wantHeader, header); diff != "" {
			t.Errorf("%s: the target got (-want +got):\n%s", request, diff)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the target got (-want +got):\n%s", diff)
	}
	f.stop()
	<-f.stopped
	if _, nudges := f.asked(); nudges != len(management) {
		t.Errorf("%d of %d made foreman look at what is installed now", nudges, len(management))
	}
}

func TestManagementTakesBlobsAndNothingElseBelowThem(t *testing.T) {
	f := start(t, found(), nil, everything)
	for _, path := range []string{
		"..", "../delete", "sha256:" + digest + "/../../delete", "%2e%2e/delete", "..%2fdelete", "sha256:" + digest + "%2f..%2f..%2fdelete",
		"sha256:..", "sha256:" + digest[1:], "sha256:0" + digest, "sha256:" + digest + "%0a", "sha256:" + strings.ToUpper(digest),
		"sha512:" + digest, "x" + "sha256:" + digest, "sha256:" + digest + "/", "/sha256:" + digest, digest,
	} {
		got := f.raw("POST /api/blobs/" + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		if got.status != 404 || !strings.Contains(got.native(t), "names no blob") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestManagementWhileTheTargetIsAway(t *testing.T) {
	target := sim.New(sim.Options{Instant: true})
	defer target.Close()
	f := start(t, found(), target.Handler(), everything)
	target.Fail("*", sim.Reset())
	f.do("POST", "/api/pull", `{}`).says(t, 503, `{"error":"foreman can't reach its target: reset"}`)
	f.leave()
	got := f.do("POST", "/api/pull", `{}`)
	got.says(t, 503, `{"error":"foreman can't reach its target: refused"}`)
	if got.header.Get("Retry-After") != "2" {
		t.Errorf("%v", got.header)
	}
}

func TestManagementDoesNotFollowRedirects(t *testing.T) {
	target := sim.New(sim.Options{Instant: true})
	defer target.Close()
	target.Fail("*", sim.Redirect("/elsewhere"))
	f := start(t, found(), target.Handler(), everything)
	if got := f.do("POST", "/api/pull", `{}`); got.status != 302 || target.Requests("/elsewhere") != 0 {
		t.Errorf("%d, and %d requests followed", got.status, target.Requests("/elsewhere"))
	}
}

// A pull of a big model is silent for a while, and goes on for hours; so does
// the upload of a blob.
func TestManagementStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i := range 3 {
				fmt.Fprintf(w, "line %d\n", i)
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Hour)
			}
		}), everything)
		resp, err := f.client.Post("http://localhost/api/pull", "application/json", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := resp.Header.Get("X-Accel-Buffering"); got != "no" {
			t.Errorf("X-Accel-Buffering: %q", got)
		}
		began, lines := time.Now(), bufio.NewScanner(resp.Body)
		for i := range 3 {
			if !lines.Scan() || lines.Text() != fmt.Sprint("line ", i) || time.Since(began) != time.Duration(i)*time.Hour {
				t.Fatalf("after %v: %q, %v", time.Since(began), lines.Text(), lines.Err())
			}
		}
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("then %q, %v", lines.Text(), lines.Err())
		}
	})
}

// drip reads as n bytes, one a minute.
type drip int

func (d *drip) Read(p []byte) (int, error) {
	if *d == 0 {
		return 0, io.EOF
	}
	*d--
	time.Sleep(time.Minute)
	return copy(p, "x"), nil
}

func TestManagementTakesASlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 100
		f := start(t, found(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		}), everything)
		body := drip(size)
		resp, err := f.client.Post("http://localhost/api/blobs/sha256:"+digest, "", &body)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); got.status != 200 || got.body != fmt.Sprint(size, nil) {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

func TestManagementEndsWhenTheCallerStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		f := start(t, found(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Second) // till the header is through
			began := time.Now()
			for line := bytes.Repeat([]byte("x"), 1<<16); r.Context().Err() == nil; {
				if _, err := w.Write(line); err != nil {
					break
				}
			}
			ended <- time.Since(began)
		}), everything)
		resp, err := f.client.Post("http://localhost/api/pull", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := <-ended; took < 45*time.Second || took > time.Minute {
			t.Errorf("the target is held for %v", took)
		}
	})
}

func TestManagementEndsWhenTheCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		f := start(t, found(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			ended <- time.Now()
		}), everything)
		f.client.Timeout = time.Second
		began := time.Now()
		if _, err := f.client.Post("http://localhost/api/pull", "", strings.NewReader(`{}`)); err == nil {
			t.Error("it was answered")
		}
		if took := (<-ended).Sub(began); took != time.Second {
			t.Errorf("the target is held for %v", took)
		}
	})
}

func TestManagementEndsWhenTheCallerReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		f := start(t, found(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			ended <- time.Now()
		}), everything)
		conn := f.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if took := (<-ended).Sub(began); took != time.Minute {
			t.Errorf("the target is held for %v", took)
		}
	})
}

// Ollama does that when it has the blob already.
func TestManagementOfATargetThatAnswersBeforeTheUploadEnds(t *testing.T) {
	f := start(t, found(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "I have it")
	}), everything)
	for range 100 {
		if got := f.do("POST", "/api/blobs/sha256:"+digest, strings.Repeat("x", 1<<17)); got.status != 200 || got.body != "I have it" {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
}
