package ollama

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// manyEntries are n entries of /api/tags as a real server writes them.
func manyEntries(n int) []string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"name":"team%d/model-%d:latest","model":"team%d/model-%d:latest",`+
			`"modified_at":"2026-11-23T08:19:39.249530578Z","size":%d,"digest":"%x",`+
			`"details":{"parent_model":"","format":"gguf","family":"llama","families":["llama"],`+
			`"parameter_size":"98K","quantization_level":"F16"}}`,
			i%100, i, i%100, i, 206080+i, sha256.Sum256(fmt.Append(nil, i)))
	}
	return entries
}

func tagsBody(entries []string) []byte {
	return []byte(`{"models":[` + strings.Join(entries, ",") + `]}`)
}

// BenchmarkPoll compares looks at 10,000 models over loopback with reading and
// hashing the same body.
func BenchmarkPoll(b *testing.B) {
	entries := manyEntries(10_000)
	bodies := make([][]byte, 8)
	for i := range bodies {
		bodies[i] = tagsBody(entries)
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	calls, shuffle := 0, false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; shuffle {
			_, _ = w.Write(bodies[calls%len(bodies)])
			return
		}
		_, _ = w.Write(bodies[0])
	}))
	defer srv.Close()
	backend := configured(b, core.Settings{URL: srv.URL})

	b.Run("read+sha256", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for b.Loop() {
			resp, err := client.Get(srv.URL + "/api/tags")
			if err != nil {
				b.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
			sha256.Sum256(body)
		}
	})
	for _, random := range []bool{false, true} {
		b.Run(fmt.Sprintf("unchanged/shuffled=%v", random), func(b *testing.B) {
			shuffle = random
			known := mustModels(b, backend, "").Fingerprint
			for b.Loop() {
				if !mustModels(b, backend, known).Unchanged {
					b.Fatal("the list counts as changed")
				}
			}
		})
	}
	b.Run("changed/wire", func(b *testing.B) {
		for b.Loop() {
			mustModels(b, backend, "")
		}
	})
}

// BenchmarkDecode compares the plugin's own part of a changed look, "changed",
// with plain decoding.
func BenchmarkDecode(b *testing.B) {
	body := tagsBody(manyEntries(10_000))
	b.Run("sha256", func(b *testing.B) {
		for b.Loop() {
			sha256.Sum256(body)
		}
	})
	b.Run("quickFingerprint", func(b *testing.B) {
		for b.Loop() {
			quickFingerprint(body)
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		for b.Loop() {
			var list struct {
				Models []struct {
					Name       string    `json:"name"`
					Digest     string    `json:"digest"`
					Size       int64     `json:"size"`
					ModifiedAt time.Time `json:"modified_at"`
					Details    struct {
						Family        string `json:"family"`
						ParameterSize string `json:"parameter_size"`
						Quantization  string `json:"quantization_level"`
					} `json:"details"`
				} `json:"models"`
			}
			if err := json.Unmarshal(body, &list); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			quickFingerprint(body)
			models, fault := decodeTags(body)
			if fault != nil {
				b.Fatal(fault)
			}
			fingerprintOf(models)
		}
	})
}
