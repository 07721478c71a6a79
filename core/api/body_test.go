package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/seed-af7fee88/foreman/core/api"
)

func TestAMalformedBodyIsRefusedInTheCallersShape(t *testing.T) {
	const (
		notJSON   = "the request's body is not JSON"
		notObject = "the request's body is not a JSON object"
		noModel   = "model is required"
		notString = "model is not a string"
		twice     = "the request's body has model twice"
	)
	f := start(t, found(named("tiny:latest"), named("other:latest")), nil)
	for body, want := range map[string]string{
		``:                          "missing request body",
		` `:                         notJSON,
		`model=tiny`:                notJSON,
		`{"model":"tiny"`:           notJSON,
		`{"model":"tiny",}`:         notJSON,
		`{'model':'tiny'}`:          notJSON,
		`{"model":"tiny"}}`:         notJSON,
		`{"model":"tiny"}{"a":1}`:   notJSON,
		`{"model":"tiny"} x`:        notJSON,
		"\ufeff" + `{"model":"t"}`:  notJSON,
		"{\"model\":\"ti\nny\"}":    notJSON,
		`{"model":"tiny","x":01}`:   notJSON,
		`{"model":"\x74iny"}`:       notJSON,
		strings.Repeat("[", 20_000): notJSON,
		`"tiny"`:                    notObject,
		`["model","tiny"]`:          notObject,
		`[{"model":"tiny"}]`:        notObject,
		`null`:                      notObject,
		`1`:                         notObject,
		`{}`:                        noModel,
		`{"model":""}`:              noModel,
		`{"model":null}`:            noModel,
		`{"name ":"tiny"}`:          noModel,
		`{"model ":"tiny"}`:         noModel,
		`{"x":{"model":"tiny"}}`:    noModel,
		`{"model":1}`:               notString,
		`{"model":true}`:            notString,
		`{"model":["tiny"]}`:        notString,
		`{"model":{"name":"tiny"}}`: notString,

		`{"model":"tiny","model":"other"}`:                     twice,
		`{"model":"tiny","model":"tiny"}`:                      twice,
		`{"model":"tiny","MODEL":"other"}`:                     twice,
		`{"Model":null,"prompt":"x","modeL":"tiny"}`:           twice,
		`{"model":"tiny","m\u006fdel":"other"}`:                twice,
		`{"\u006d\u006F\u0064\u0065\u006c":"tiny","model":""}`: twice,
		`{"model":1,"model":2}`:                                twice,
	} {
		for _, path := range checked {
			if got := f.do("POST", path, body); got.status != 400 || message(t, path, got) != want {
				t.Errorf("%s %.60s: %d %s, want 400 %s", path, body, got.status, got.body, want)
			}
		}
	}
	if got := f.do("POST", "/v1/messages", ``); !strings.Contains(got.body, `"invalid_request_error"`) {
		t.Errorf("%s", got.body)
	}
	if looks, _ := f.asked(); looks != 0 {
		t.Errorf("%d looks at the target", looks)
	}
}

// The stock client names the model of its show command under name.
func TestShowTakesTheNameUnderEitherKey(t *testing.T) {
	f := start(t, found(named("tiny:latest")), http.HandlerFunc(answers))
	for body, want := range map[string]int{
		`{"name":"tiny"}`: 200, `{"model":"","name":"tiny"}`: 200, `{"model":null,"NAME":"tiny"}`: 200, `{"model":"tiny","name":"nope"}`: 200,
		`{"model":"nope","name":"tiny"}`: 404, `{"name":"tiny","Name":"tiny"}`: 400, `{"name":1}`: 400, `{"model":1,"name":"tiny"}`: 400,
	} {
		if got := f.do("POST", "/api/show", body); got.status != want {
			t.Errorf("%s: %d %s, want %d", body, got.status, got.body, want)
		}
	}
	if got := f.do("POST", "/api/chat", `{"name":"tiny"}`); got.status != 400 {
		t.Errorf("/api/chat: %d %s", got.status, got.body)
	}
}

func gzipped(t testing.TB, plain io.Reader) string {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := io.Copy(w, plain); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return packed.String()
}

func zstded(t testing.TB, plain io.Reader, opts ...zstd.EOption) string {
	t.Helper()
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, plain); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return packed.String()
}

func TestACompressedBodyReachesTheTargetPlain(t *testing.T) {
	f := start(t, found(named("tiny:latest")), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %d %v", body, r.Header.Values("Content-Encoding"), r.ContentLength, err)
	}))
	const body = `{"model":"tiny","prompt":"é, x, [1]"}`
	want := fmt.Sprintf("%s [] %d <nil>", body, len(body))
	for encoding, sent := range map[string]string{
		"":         body,
		"identity": body,
		"gzip":     gzipped(t, strings.NewReader(body)),
		"GZIP":     gzipped(t, strings.NewReader(body[:10])) + gzipped(t, strings.NewReader(body[10:])),
		"zstd":     zstded(t, strings.NewReader(body)),
		"Zstd":     zstded(t, strings.NewReader(body[:10])) + zstded(t, strings.NewReader(body[10:])),
	} {
		for _, path := range []string{"/api/chat", "/v1/chat/completions", "/api/show"} {
			if got := f.do("POST", path, sent, "Content-Encoding: "+encoding); got.status != 200 || got.body != want {
				t.Errorf("%s, %s: %d %s\nwant %s", path, encoding, got.status, got.body, want)
			}
		}
	}
}

func TestACompressedBodyThatIsBroken(t *testing.T) {
	const body = `{"model":"tiny"}`
	f := start(t, found(named("tiny:latest")), nil)
	packed, zpacked := gzipped(t, strings.NewReader(body)), zstded(t, strings.NewReader(body))
	flipped := []byte(packed)
	flipped[len(flipped)-6] ^= 1 // its checksum
	for name, c := range map[string]struct {
		encoding, body string
		want           int
	}{
		"unknown":             {"br", body, 415},
		"several":             {"gzip, zstd", packed, 415},
		"not gzip":            {"gzip", body, 400},
		"empty gzip":          {"gzip", "", 400},
		"truncated gzip":      {"gzip", packed[:len(packed)-9], 400},
		"wrong checksum":      {"gzip", string(flipped), 400},
		"more after gzip":     {"gzip", packed + "x", 400},
		"not zstd":            {"zstd", body, 400},
		"empty zstd":          {"zstd", "", 400},
		"truncated zstd":      {"zstd", zpacked[:len(zpacked)-5], 400},
		"more after zstd":     {"zstd", zpacked + "xyzzy", 400},
		"gzip of what is not": {"gzip", gzipped(t, strings.NewReader("x")), 400},
		"a gzip, not said so": {"", packed, 400},
	} {
		for _, path := range checked {
			if got := f.do("POST", path, c.body, "Content-Encoding: "+c.encoding); got.status != c.want || message(t, path, got) == "" {
				t.Errorf("%s, %s: %d %s, want %d", path, name, got.status, got.body, c.want)
			}
		}
	}
	got := f.raw("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx")
	got.says(t, 415, `{"error":"Content-Encoding \"gzip, br\" isn't understood: send gzip, zstd or nothing"}`)
	if f.log.String() != "" {
		t.Errorf("a caller's mistake is logged: %s", f.log)
	}
}

// padded is a body of n bytes.
func padded(n int) string {
	const head, tail = `{"model":"tiny","prompt":"`, `"}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

func TestABodyIsBoundedBeforeAndAfterItIsDecoded(t *testing.T) {
	const limit = 100_000
	f := start(t, found(named("tiny:latest")), http.HandlerFunc(answers), func(o *setup) { o.MaxBody = limit })
	stored := func(s string) string { // gzip can't make it smaller
		var packed bytes.Buffer
		w, _ := gzip.NewWriterLevel(&packed, gzip.NoCompression)
		_, _ = w.Write([]byte(s))
		_ = w.Close()
		return packed.String()
	}
	for name, c := range map[string]struct {
		encoding, body string
		want           int
	}{
		"as big as may be":       {"", padded(limit), 200},
		"a byte more":            {"", padded(limit + 1), 413},
		"gzip, as big as may be": {"gzip", gzipped(t, strings.NewReader(padded(limit))), 200},
		"gzip of a byte more":    {"gzip", gzipped(t, strings.NewReader(padded(limit+1))), 413},
		"zstd, as big as may be": {"zstd", zstded(t, strings.NewReader(padded(limit))), 200},
		"zstd of a byte more":    {"zstd", zstded(t, strings.NewReader(padded(limit+1))), 413},
		"gzip bigger than plain": {"gzip", stored(padded(limit)), 413},
	} {
		for _, path := range checked {
			got := f.do("POST", path, c.body, "Content-Encoding: "+c.encoding)
			if got.status != c.want {
				t.Errorf("%s, %s: %d %s, want %d", path, name, got.status, got.body, c.want)
			}
			if c.want == 413 && message(t, path, got) != "the request's body is over 100000 bytes; server.max_body sets the limit" {
				t.Errorf("%s, %s: %s", path, name, got.body)
			}
		}
	}
}

// endless reads as zeroes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestABombTakesLittleMemory(t *testing.T) {
	const limit, inflated, most = 1 << 20, 40 << 20, 24 << 20
	f := start(t, found(named("tiny:latest")), nil)
	bomb := func() io.Reader { return io.LimitReader(endless{}, inflated) }
	// A frame without content that asks for a window of 2 GiB.
	window := "\x28\xb5\x2f\xfd\x00" + string([]byte{21 << 3}) + "\x01\x00\x00"
	for name, c := range map[string]struct {
		encoding, body string
		want           int
	}{
		"gzip":                      {"gzip", gzipped(t, bomb()), 413},
		"zstd":                      {"zstd", zstded(t, bomb()), 413},
		"zstd with a window of 2GB": {"zstd", window, 400},
	} {
		if len(c.body) > limit {
			t.Fatalf("%s: the bomb has %d bytes", name, len(c.body))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := f.do("POST", "/api/chat", c.body, "Content-Encoding: "+c.encoding)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; got.status != c.want || took > most {
			t.Errorf("%s: %d %s, having taken %d MiB", name, got.status, got.body, took>>20)
		}
	}
}

// Whoever reads the body into a struct with encoding/json, as Ollama does,
// finds the model in it that foreman has checked.
func FuzzModelOf(f *testing.F) {
	for _, body := range []string{
		`{"model":"tiny"}`, ` { "MODEL" : "t\u0069ny" , "prompt":"x"}`, `{"m\u006fdel":"a"}`, `{"model":"a","model":"b"}`, `{"model":"a","Model":null}`,
		`{"model":"\ud800"}`, `{"model":"\ud83d\ude00"}`, "{\"model\":\"\xff\"}", "{\"mod\xffel\":\"a\",\"model\":\"b\"}", `{"model":"a\/b\"\\"}`,
		`{"\u212aodel":"a"}`, `{"model":"a"}{"model":"b"}`, `{"model":{"model":"a"}}`, `{"x":{"model":"a"},"model":"b"}`, `{"x":"\"model\":\"a\"","model":"b"}`,
		`{"":"","model":"b"}`, `{"model\u0000":"a","model":"b"}`, `[]`, `null`, `{"model":null}`, `{"a":"\\","model":"b"}`, "{\"model\":\"a\u2028\x7f\"}",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		name, err := api.ModelOf(body, "model")
		if err != nil {
			if name != "" {
				t.Errorf("refused (%v), with the name %q", err, name)
			}
			return
		}
		var whole, stream struct {
			Model string `json:"model"`
		}
		if err := json.Unmarshal(body, &whole); err != nil {
			t.Fatalf("%q: foreman accepts %q, encoding/json says %v", body, name, err)
		}
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&stream); err != nil {
			t.Fatalf("%q: foreman accepts %q, a decoder says %v", body, name, err)
		}
		if diff := cmp.Diff([]string{whole.Model, stream.Model}, []string{name, name}); diff != "" {
			t.Errorf("%q (-encoding/json +foreman):\n%s", body, diff)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatal(err)
		}
		seen := 0
		for key := range fields {
			if strings.EqualFold(key, "model") {
				seen++
			}
		}
		if seen != 1 {
			t.Errorf("%q: accepted with %d keys that may mean the model", body, seen)
		}
	})
}

// What holds a large body holds it once.
func TestALargeBodyIsReadWhereItIs(t *testing.T) {
	long := strings.Repeat(`a line\n`, 1<<20)
	for _, body := range []string{
		`{"prompt":"` + long + `","model":"tiny"}`,
		`{"messages":[{"content":"` + long + `"}],"model":"tiny","keep_alive":0}`,
		`{"` + long + `":1,"model":"tiny"}`,
	} {
		sent := []byte(body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		name, err := api.ModelOf(sent, "model")
		unloads := api.Unloads("/api/chat", sent)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; name != "tiny" || err != nil || unloads || took > 1<<20 {
			t.Errorf("%.20s…: %q, %v, unloads: %v, %d bytes", body, name, err, unloads, took)
		}
	}
}
