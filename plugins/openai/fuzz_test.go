package openai

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

func FuzzDecodeList(f *testing.F) {
	for _, name := range []string{"llamacpp-models.json", "llamacpp-router-models.json", "vllm-models.json", "lmstudio-v0-models.json"} {
		f.Add(readFile(f, name))
	}
	for _, s := range []string{
		`{"d\u0061ta":[ {"i\u0064":"\ud83d\u0000","Name":1} , {"id":"b","id":"c"} ]}`,
		"\xef\xbb\xbf{\"data\":[{\"id\":\"\xff\xfe\",\"meta\":{\"size\":1e9}}]}\n",
		`{"object":"list","data":null}`, `{"data":[{"id":"x","created":1e300}]}`, `{"data":[{"id":"\\","]}":"]}, \"{\\"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, fault := decodeList(body)
		if fault != nil {
			return
		}
		var first, again target.Digest
		var contents [][]byte
		for _, e := range entries {
			m, r := e.model(), e.resident()
			checkRaw(t, m.Raw, m.Name)
			checkRaw(t, r.Raw, r.Name)
			if m.Size < 0 || r.ContextLength < 0 {
				t.Errorf("less than nothing: %+v %+v", m, r)
			}
			first.Add(e.content())
			contents = append(contents, e.content())
		}
		rand.Shuffle(len(contents), func(i, j int) { contents[i], contents[j] = contents[j], contents[i] })
		for _, c := range contents {
			again.Add(c)
		}
		if first.String() != again.String() {
			t.Error("another order has another fingerprint")
		}
		// What is passed on as OpenAI's is what came.
		var raws []string
		for _, e := range entries {
			raws = append(raws, string(e.model().Raw))
		}
		back, fault := decodeList([]byte(`{"object":"list","data":[` + strings.Join(raws, ",") + `]}`))
		if fault != nil || len(back) != len(entries) {
			t.Fatalf("%d entries went, %d came back: %v", len(entries), len(back), fault)
		}
		for i := range back {
			if back[i].id != entries[i].id || back[i].created != entries[i].created {
				t.Errorf("%+v went, %+v came back", entries[i], back[i])
			}
		}
	})
}

// checkRaw reads raw as foreman's other side does, by encoding/json, which
// takes keys in any case.
func checkRaw(t *testing.T, raw json.RawMessage, name string) {
	t.Helper()
	var sent struct{ Name, Model string }
	if err := json.Unmarshal(raw, &sent); err != nil || !utf8.Valid(raw) || raw[0] != '{' {
		t.Errorf("raw is not a JSON object in UTF-8: %v: %q", err, raw)
	}
	if sent.Name != name || sent.Model != name {
		t.Errorf("raw of %q is of %q: %s", name, sent.Name, raw)
	}
}
