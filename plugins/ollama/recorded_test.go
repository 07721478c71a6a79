package ollama

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-af7fee88/foreman/core"
)

const recordings = "../../testdata/ollama/"

func readRecording(tb testing.TB, name string) []byte {
	tb.Helper()
	file, err := os.ReadFile(recordings + name)
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

// recordedReply is the header and the body of a recorded reply, without the
// request in front of it and the newline behind.
func recordedReply(tb testing.TB, name string) (*http.Response, []byte) {
	tb.Helper()
	file := readRecording(tb, name)
	_, file, found := bytes.Cut(file, []byte("HTTP/1.1 "))
	if !found {
		tb.Fatalf("%s has no status line", name)
	}
	head, body, _ := bytes.Cut(file, []byte("\r\n\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(
		strings.NewReader("HTTP/1.1 "), bytes.NewReader(head), strings.NewReader("\r\n\r\n"))), nil)
	if err != nil {
		tb.Fatal(err)
	}
	if n := resp.ContentLength; n >= 0 {
		return resp, body[:n]
	}
	return resp, bytes.TrimSuffix(body, []byte("\n"))
}

// replay answers as recorded, chunked where that was.
func replay(tb testing.TB, name string) http.HandlerFunc {
	recorded, body := recordedReply(tb, name)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", recorded.Header.Get("Content-Type"))
		if recorded.ContentLength >= 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(recorded.StatusCode)
		for chunk := range slices.Chunk(body, 1000) {
			_, _ = w.Write(chunk)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func TestRecordedTags(t *testing.T) {
	ignoreRaw := cmpopts.IgnoreFields(core.Model{}, "Raw")
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	tiny := core.Model{
		Name: "tiny:latest", Size: 206080, ModifiedAt: at("2026-11-23T08:19:04.961073734Z"),
		Digest: "db77677cb4f41662bd146e3b1f6df080662c5679954baa48869341f1bb7f364d",
		Family: "llama", ParameterSize: "98K", Quantization: "F16",
	}
	old := core.Model{
		Name: "tiny:latest", Size: 206912, ModifiedAt: at("2026-11-23T08:47:30.60451621Z"),
		Digest: "c188875f80ae0915d278119b596cec8d22988b27a48c5349637e689eaaa9fdc3",
		Family: "llama", ParameterSize: "98K", Quantization: "F16",
	}
	oldEmbed := core.Model{
		Name: "tiny-embed:latest", Size: 117630, ModifiedAt: at("2026-11-23T08:47:30.628474562Z"),
		Digest: "79a490b2e0cdedffec167f9e13d90128aafdb66614a55694efd8b739ed521df7",
		Family: "bert", ParameterSize: "38K", Quantization: "F16",
	}
	for name, want := range map[string][]core.Model{
		"tags-empty.http":       {},
		"tags-one.http":         {tiny},
		"v0.6.5/_api_tags.http": {old, oldEmbed},
	} {
		b := configured(t, core.Settings{URL: serve(t, replay(t, name))})
		list := mustModels(t, b, "")
		if diff := cmp.Diff(want, list.Models, ignoreRaw); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	b := configured(t, core.Settings{URL: serve(t, replay(t, "tags-many.http"))})
	if got := mustModels(t, b, "").Models; len(got) != 10 || !cmp.Equal(got[9], tiny, ignoreRaw) {
		t.Errorf("tags-many.http: %d models, the last of them %+v", len(got), got[len(got)-1])
	}
}

func TestRecordedRemoteModel(t *testing.T) {
	entry := strings.TrimSpace(string(readRecording(t, "tags-remote-entry.json")))
	b := configured(t, core.Settings{URL: serve(t, jsonBody(`{"models":[`+entry+`]}`))})
	want := []core.Model{{
		Name: "cloudy:latest", Size: 237,
		Digest:     "27aa2f3167cd5a1239098fe3e71630427744f40a2be82b9d4b126ce2b4312da7",
		ModifiedAt: time.Date(2026, 11, 23, 8, 22, 32, 777004025, time.UTC),
		Raw:        []byte(entry),
	}}
	if diff := cmp.Diff(want, mustModels(t, b, "").Models); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRecordedPS(t *testing.T) {
	const (
		digest    = "db77677cb4f41662bd146e3b1f6df080662c5679954baa48869341f1bb7f364d"
		oldDigest = "fe14e9850c5e21a53f38a9baa372dc3bcf0b60bbabc8b2d20f810f9f38d9937b"
	)
	at := func(min, sec, nsec int) time.Time { return time.Date(2026, 11, 23, 8, min, sec, nsec, time.UTC) }
	deleted := core.Resident{Name: "tiny:latest", Digest: oldDigest, Size: 5282816, ContextLength: 4096, ExpiresAt: at(23, 18, 490864412)}
	for name, want := range map[string][]core.Resident{
		"ps-empty.http": {},
		"ps-one.http": {
			{Name: "tiny:latest", Digest: digest, Size: 2253440, ContextLength: 4096, ExpiresAt: at(26, 26, 258081582)},
		},
		"ps-same-name-twice-after-recreate.http": {
			{Name: "tiny:latest", Digest: digest, Size: 2253440, ContextLength: 4096, ExpiresAt: at(24, 5, 345838803)},
			deleted,
		},
		"ps-after-unload-newer-still-old-digest.http": {deleted},
		"ps-many.http": {
			{Name: "tiny:latest", Digest: digest, Size: 2253440, ContextLength: 4096, ExpiresAt: at(25, 51, 213359485)},
			{Name: "tiny-embed:latest", Digest: "afa1120a7b54bba498258ecb398f11fbc60cbe655bd179fe834eb1e6c58b3853",
				Size: 2545664, ContextLength: 512, ExpiresAt: at(25, 51, 949020059)},
			deleted,
		},
		"v0.6.5/_api_ps.http": { // has no context_length
			{Name: "tiny:latest", Digest: "c188875f80ae0915d278119b596cec8d22988b27a48c5349637e689eaaa9fdc3",
				Size: 57363968, ExpiresAt: at(52, 31, 73582674)},
		},
	} {
		b := configured(t, core.Settings{URL: serve(t, replay(t, name))})
		got, err := b.Running(t.Context())
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(core.Resident{}, "Raw")); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestRecordedVersions(t *testing.T) {
	for name, want := range map[string]string{"version-get.http": "0.17.4", "v0.6.5/_api_version.http": "0.6.5"} {
		b := configured(t, core.Settings{URL: serve(t, replay(t, name))})
		if got, err := b.Probe(t.Context()); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestRecordedRefusals(t *testing.T) {
	for name, want := range map[string]core.Reason{
		"notfound-path.http":      core.ReasonWrongTarget,
		"method-not-allowed.http": core.ReasonWrongTarget,
		"root-get.http":           core.ReasonNotJSON,
		"queue-full-503.http":     core.StatusReason(503),
		"version-get.http":        core.ReasonNoModels,
	} {
		b := configured(t, core.Settings{URL: serve(t, replay(t, name))})
		_, err := b.Models(t.Context(), "")
		if got := core.FaultOf(err); got.Reason != want {
			t.Errorf("%s: %s (%s), want %s", name, got.Reason, got.Detail, want)
		}
	}
}

// A pinned model's unload time is beyond what fits in a time.Duration.
func TestPinnedResident(t *testing.T) {
	b := configured(t, core.Settings{URL: serve(t, jsonBody(
		`{"models":[{"name":"tiny:latest","expires_at":"2318-12-05T07:39:42.9+01:00","size_vram":5}]}`))})
	got, err := b.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].Pinned(time.Now()) || got[0].SizeVRAM != 5 {
		t.Errorf("%+v is not pinned with 5 bytes of VRAM", got[0])
	}
}
