package ollama

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const oneEntry = `{"name":"tiny:latest","size":1}`

// Every row is how the target answers /api/tags, and what is said of it.
func TestFaultsOfAnswers(t *testing.T) {
	const tags = `{"models":[` + oneEntry + `]}`
	body := func(s string) sim.Fault { return sim.Body("application/json", []byte(s)) }
	entry := func(s string) sim.Fault { return body(`{"models":[` + oneEntry + `,` + s + `]}`) }
	gzipped := func(s string) sim.Fault {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte(s))
		}
	}
	for _, tt := range []struct {
		name   string
		fault  sim.Fault
		want   core.Reason
		detail string // after "GET URL/api/tags: "; not compared if empty
	}{
		{"spurious 500", sim.Status(500, `{"error":"open manifests/x:\nno such\u001b[31m file"}`),
			"status_500", "status 500: open manifests/x: no such [31m file"},
		{"500 in plain text", sim.Status(500, "boom\n"), "status_500", "status 500: boom"},
		{"500 without text", sim.Status(500, ""), "status_500", "status 500: Internal Server Error"},
		{"500 of another shape", sim.Status(500, `{"failure":"x"}`), "status_500", "status 500: Internal Server Error"},
		{"busy", sim.Status(503, `{"error":"server busy"}`), "status_503", "status 503: server busy"},
		{"unauthorised", sim.Status(401, `{}`), "status_401", "status 401: Unauthorized"},
		{"no content", sim.Status(204, ""), "status_204", ""},
		{"endless error", sim.Status(500, strings.Repeat("no ", 1<<20)), "status_500", ""},
		{"404", sim.Status(404, "404 page not found"), core.ReasonWrongTarget, "status 404: not Ollama's API"},
		{"405", sim.Status(405, ""), core.ReasonWrongTarget, "status 405: not Ollama's API"},
		{"web page", sim.Body("text/html; charset=utf-8", []byte(tags)), core.ReasonWrongTarget, "a web page, not Ollama's API"},
		{"redirect", sim.Redirect("https://me:s3cret@other.example:8443/login?token=s3cret"), core.ReasonRedirect,
			"status 302: redirects to other.example:8443, which is not followed"},
		{"not modified", sim.Status(304, ""), core.ReasonRedirect, "status 304: redirects nowhere"},

		{"hang", sim.Hang(), core.ReasonTimeout, "no answer in time"},
		{"drip", sim.Drip([]byte(tags), 1, 20*time.Millisecond), core.ReasonTimeout, ""},
		{"reset", sim.Reset(), core.ReasonReset, "connection reset before an answer"},
		{"closed", abort, core.ReasonReset, "connection closed before an answer"},
		{"truncated", sim.Truncate([]byte(tags), 20), core.ReasonTruncated, "the answer broke off after 20 bytes"},
		{"truncated chunks", truncateChunks(tags[:20]), core.ReasonTruncated, "the answer broke off after 20 bytes"},
		{"truncated compression", gzipped("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), core.ReasonTruncated, ""},
		{"cut JSON", body(tags[:20]), core.ReasonTruncated, "the answer's JSON ends early, after 20 bytes"},
		{"broken compression", gzipped("no gzip, though long enough"), core.ReasonNotJSON, ""},
		{"gzip bomb", sim.GzipBomb(1 << 40), core.ReasonTooLarge, "the answer is larger than 67108864 bytes"},
		{"declared too large", declare(maxList + 1), core.ReasonTooLarge, "the answer is larger than 67108864 bytes"},

		{"empty", body(""), core.ReasonNotJSON, "the answer is empty"},
		{"blank", body("\n "), core.ReasonNotJSON, "the answer is empty"},
		{"text", body("Ollama is running"), core.ReasonNotJSON, ""},
		{"trailing bytes", body(tags + `x`), core.ReasonNotJSON, "the answer is not JSON: invalid character 'x' after top-level value"},
		{"two values", body(tags + tags), core.ReasonNotJSON, ""},
		{"control character", body("{\"models\":[{\"name\":\"\x1b[31m\"}]}"), core.ReasonNotJSON, ""},
		{"invalid UTF-8 outside a string", body("{\xff\"models\":[]}"), core.ReasonNotJSON, ""},

		{"no models", body(`{}`), core.ReasonNoModels, "no array of models in the answer"},
		{"null models", body(`{"models":null}`), core.ReasonNoModels, ""},
		{"error as 200", body(`{"error":"disk\u0007 gone"}`), core.ReasonNoModels, "no models in the answer, but an error: disk gone"},
		{"models an object", body(`{"models":{}}`), core.ReasonNoModels, ""},
		{"models a string", body(`{"models":"[]"}`), core.ReasonNoModels, ""},
		{"models in another case", body(`{"Models":[],"MODELS":[]}`), core.ReasonNoModels, ""},
		{"models further down", body(`{"data":{"models":[]}}`), core.ReasonNoModels, ""},
		{"an array", body(`[` + oneEntry + `]`), core.ReasonNoModels, "the answer is not a JSON object"},
		{"null", body(`null`), core.ReasonNoModels, ""},

		{"entry a string", entry(`"tiny"`), core.ReasonBadModel, "models[1] is not an object"},
		{"entry null", entry(`null`), core.ReasonBadModel, "models[1] is not an object"},
		{"entry an array", entry(`[]`), core.ReasonBadModel, "models[1] is not an object"},
		{"no name", entry(`{"model":"tiny"}`), core.ReasonBadModel, `models[1] has no usable "name"`},
		{"empty name", entry(`{"name":""}`), core.ReasonBadModel, `models[1] has no usable "name"`},
		{"null name", entry(`{"name":null}`), core.ReasonBadModel, `models[1] has no usable "name"`},
		{"name in another case", entry(`{"Name":"x"}`), core.ReasonBadModel, `models[1] has no usable "name"`},
		{"name a number", entry(`{"name":1}`), core.ReasonBadModel, `models[1] has no usable "name"`},
		{"size a string", entry(`{"name":"x","size":"1"}`), core.ReasonBadModel, `models[1] has no usable "size"`},
		{"size a fraction", entry(`{"name":"x","size":1.5}`), core.ReasonBadModel, `models[1] has no usable "size"`},
		{"size too large", entry(`{"name":"x","size":9223372036854775808}`), core.ReasonBadModel, ""},
		{"digest an object", entry(`{"name":"x","digest":{}}`), core.ReasonBadModel, `models[1] has no usable "digest"`},
		{"time a number", entry(`{"name":"x","modified_at":5}`), core.ReasonBadModel, `models[1] has no usable "modified_at"`},
		{"no time", entry(`{"name":"x","modified_at":"yesterday"}`), core.ReasonBadModel, `models[1] has no usable "modified_at"`},
		{"details an array", entry(`{"name":"x","details":[]}`), core.ReasonBadModel, `models[1] has no usable "details"`},
		{"family a number", entry(`{"name":"x","details":{"family":1}}`), core.ReasonBadModel, `models[1] has no usable "details"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := startSim(t)
			srv.Fail("/api/tags", tt.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if tt.want == core.ReasonTimeout {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			began := time.Now()
			_, err := configured(t, core.Settings{URL: srv.URL(), Token: "s3cret"}).Models(ctx, "")
			fault := wantFault(t, err, tt.want)
			prefix := "GET " + srv.URL() + "/api/tags: "
			if detail, ok := strings.CutPrefix(fault.Detail, prefix); !ok || tt.detail != "" && detail != tt.detail {
				t.Errorf("says %q, want %q", fault.Detail, prefix+tt.detail)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// wantFault checks what holds of every fault, and returns it.
func wantFault(t *testing.T, err error, want core.Reason) *core.Fault {
	t.Helper()
	var fault *core.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("error %v is not a fault", err)
	}
	if fault.Reason != want {
		t.Errorf("reason %s, want %s: %s", fault.Reason, want, fault.Detail)
	}
	if strings.ContainsFunc(fault.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) ||
		len(fault.Detail) > 500 || strings.Contains(fault.Detail, "s3cret") {
		t.Errorf("not fit to print: %q", fault.Detail)
	}
	return fault
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func truncateChunks(s string) sim.Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(s))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// declare sends headers that promise n bytes, and then nothing.
func declare(n int) sim.Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(n))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// Every row is a target that isn't there, or doesn't speak HTTP.
func TestFaultsOfConnections(t *testing.T) {
	tlsServer := httptest.NewUnstartedServer(jsonBody(`{"version":"1"}`))
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	plain := serve(t, jsonBody(`{"version":"1"}`))
	for _, tt := range []struct {
		name, url string
		want      core.Reason
		detail    string
	}{
		{"refused", "http://" + closedPort(t), core.ReasonRefused, "connection refused"},
		{"never accepts", "http://" + blackHole(t), core.ReasonTimeout, "no answer in time"},
		{"never shakes hands", "https://" + blackHole(t), core.ReasonTimeout, "no answer in time"},
		{"unknown CA", tlsServer.URL, core.ReasonTLS, ""},
		{"TLS to a plain server", strings.Replace(plain, "http:", "https:", 1), core.ReasonTLS, ""},
		{"no such host", "http://something.invalid", core.ReasonDNS, ""},
		{"not HTTP", "http://" + speaker(t, "SSH-2.0-OpenSSH_9.9\r\n\x1b[31m"), core.ReasonWrongTarget, "the answer is not HTTP"},
		{"says nothing", "http://" + speaker(t, ""), core.ReasonReset, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if tt.want == core.ReasonTimeout {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			}
			defer cancel()
			_, err := configured(t, core.Settings{URL: tt.url}).Probe(ctx)
			fault := wantFault(t, err, tt.want)
			prefix := "GET " + tt.url + "/api/version: "
			if detail, ok := strings.CutPrefix(fault.Detail, prefix); !ok || tt.detail != "" && detail != tt.detail {
				t.Errorf("says %q, want %q", fault.Detail, prefix+tt.detail)
			}
		})
	}
}

func TestCancelReturnsPromptly(t *testing.T) {
	srv := startSim(t)
	ctx, cancel := context.WithCancel(t.Context())
	srv.Fail("*", func(w http.ResponseWriter, r *http.Request) {
		cancel()
		sim.Hang()(w, r)
	})
	_, err := configured(t, core.Settings{URL: srv.URL()}).Running(ctx)
	wantFault(t, err, core.ReasonTimeout)
}

func TestFaultDoesNotTellTheToken(t *testing.T) {
	srv := startSim(t)
	srv.Fail("*", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "you sent "+r.Header.Get("Authorization"), http.StatusForbidden)
	})
	_, err := configured(t, core.Settings{URL: srv.URL(), Token: "s3cret"}).Running(t.Context())
	fault := wantFault(t, err, core.StatusReason(403))
	if want := "GET " + srv.URL() + "/api/ps: status 403: you sent Bearer [token]"; fault.Detail != want {
		t.Errorf("says %q, want %q", fault.Detail, want)
	}
}

func TestGzipBombCostsBoundedMemory(t *testing.T) {
	srv := startSim(t)
	srv.Fail("*", sim.GzipBomb(1<<40))
	b := configured(t, core.Settings{URL: srv.URL()})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := b.Models(t.Context(), "")
	runtime.ReadMemStats(&after)
	wantFault(t, err, core.ReasonTooLarge)
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 4*maxList {
		t.Errorf("allocated %d MiB for an answer over %d MiB", grew>>20, maxList>>20)
	}
}

func TestProbeWantsAVersion(t *testing.T) {
	for body, want := range map[string]string{
		`{"version":"0.17.4"}`:                       "0.17.4",
		"\xef\xbb\xbf {\"x\":[1],\"version\":\"2\"}": "2",
		`{"version":"\u0030.1","Version":"9"}`:       "0.1",
		"{\"version\":\"a\xffb\"}":                   "a\ufffdb",
		`{"version":1}`:                              "",
		`{"Version":"1"}`:                            "",
		`{"version":null}`:                           "",
		`["version"]`:                                "",
		`"version"`:                                  "",
		`{`:                                          "",
		``:                                           "",
		`ok`:                                         "",
	} {
		got, err := configured(t, core.Settings{URL: serve(t, jsonBody(body))}).Probe(t.Context())
		if got != want {
			t.Errorf("%q: version %q, want %q", body, got, want)
		}
		if want == "" {
			wantFault(t, err, core.ReasonWrongTarget)
		}
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l := listen(t)
	_ = l.Close()
	return l.Addr().String()
}

// blackHole completes TCP handshakes, as the kernel does for a frozen server,
// and no more.
func blackHole(t *testing.T) string {
	t.Helper()
	return listen(t).Addr().String()
}

// speaker says s to whoever connects, and hangs up.
func speaker(t *testing.T, s string) string {
	t.Helper()
	l := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024)) // unread bytes would make it a reset
			_, _ = conn.Write([]byte(s))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
