package ollama

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

var seeds = []string{
	`{"models":[{"name":"a","size":1},{"name":"b","note":"]}, \"{\\"}]}`,
	`{"MODELS":[],"mod\u0065ls":[ {"n\u0061me":"\ud83d\u0000"} , {"name":"b","name":"c"} ]}`,
	"\xef\xbb\xbf{\"models\":[{\"name\":\"\xff\xfe\",\"details\":{\"family\":null}}]}\n",
	`{"models":[{"name":"x","modified_at":"2026-11-23T08:19:04.961073734+01:00","expires_at":"2318-12-05T07:39:42Z"}]}`,
	`{"models":[{"name":"x"},{"name":"y"},{"name":"x"}],"models":null}`,
	`{"models":[{"name":"\\"},{"name":"\"]}"}]}`,
	`{"models":null}`, `{"models":[1]}`, `{"error":"x"}`, `[]`, `"`, `{"models":[{"`, "\x00", ` `,
}

func FuzzDecodeTags(f *testing.F) {
	for _, name := range []string{"tags-empty.http", "tags-one.http", "tags-many.http", "v0.6.5/_api_tags.http"} {
		_, body := recordedReply(f, name)
		f.Add(body)
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		quick, isQuick := quickFingerprint(body)
		models, fault := decodeTags(body)
		if fault != nil {
			return
		}
		fingerprint := fingerprintOf(models)
		if isQuick && utf8.Valid(body) && quick != fingerprint {
			t.Errorf("fingerprint %s in passing, %s when decoded", quick, fingerprint)
		}
		var names, entries []string
		for _, m := range models {
			names, entries = append(names, m.Name), append(entries, string(m.Raw))
			checkRaw(t, m.Raw)
		}
		if diff := cmp.Diff(plainNames(t, body), names); diff != "" {
			t.Errorf("names (-encoding/json +ours):\n%s", diff)
		}
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		shuffled, fault := decodeTags(tagsBody(entries))
		if fault != nil {
			t.Fatalf("in another order: %v", fault)
		}
		if fingerprintOf(shuffled) != fingerprint {
			t.Error("another order has another fingerprint")
		}
		if again, ok := quickFingerprint(tagsBody(entries)); !ok || again != fingerprint {
			t.Error("another order has another fingerprint in passing")
		}
		names = slices.Sorted(slices.Values(names))
		var others []string
		for _, m := range shuffled {
			others = append(others, m.Name)
		}
		if others = slices.Sorted(slices.Values(others)); !slices.Equal(names, others) {
			t.Errorf("another order has names %q, not %q", others, names)
		}
	})
}

func FuzzDecodePS(f *testing.F) {
	for _, name := range []string{"ps-empty.http", "ps-one.http", "ps-many.http", "v0.6.5/_api_ps.http"} {
		_, body := recordedReply(f, name)
		f.Add(body)
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		residents, fault := decodePS(body)
		if fault != nil {
			return
		}
		var names []string
		for _, r := range residents {
			names = append(names, r.Name)
			checkRaw(t, r.Raw)
		}
		if diff := cmp.Diff(plainNames(t, body), names); diff != "" {
			t.Errorf("names (-encoding/json +ours):\n%s", diff)
		}
	})
}

func checkRaw(t *testing.T, raw json.RawMessage) {
	if !json.Valid(raw) || !utf8.Valid(raw) || raw[0] != '{' {
		t.Errorf("raw is not a JSON object in UTF-8: %q", raw)
	}
}

// plainNames is what encoding/json makes of body, by maps since those match
// keys by case.
func plainNames(t *testing.T, body []byte) []string {
	var list map[string]json.RawMessage
	if err := json.Unmarshal(target.Clean(body), &list); err != nil {
		t.Fatalf("accepted what encoding/json refuses: %v", err)
	}
	var entries []map[string]json.RawMessage
	if err := json.Unmarshal(list["models"], &entries); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		var name string
		if err := json.Unmarshal(entry["name"], &name); err != nil {
			t.Fatalf("accepted the name %s: %v", entry["name"], err)
		}
		names = append(names, name)
	}
	return names
}
