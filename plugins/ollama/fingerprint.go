package ollama

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

// fingerprintOf ignores the order, since Ollama's is random among models of
// the same second.
func fingerprintOf(models []core.Model) string {
	var d target.Digest
	for _, m := range models {
		d.Add(m.Raw)
	}
	return d.String()
}

const (
	tagsHead = `{"models":[`
	tagsTail = `]}`
)

// quickFingerprint is the fingerprint of body if its frame is byte for byte
// the one that Ollama writes. It doesn't check the entries: whoever knows the
// fingerprint of a list that was decoded knows that body is one, too.
func quickFingerprint(body []byte) (fingerprint string, ok bool) {
	body = target.Trim(body)
	list := string(body)
	if !strings.HasPrefix(list, tagsHead) || !strings.HasSuffix(list, tagsTail) {
		return "", false
	}
	var d target.Digest
	next := len(tagsHead) // where an entry has to begin
	array := gjson.Result{Type: gjson.JSON, Raw: list[next-1:], Index: next - 1}
	framed := true
	array.ForEach(func(_, entry gjson.Result) bool {
		framed = entry.Index == next && (next == len(tagsHead) || list[next-1] == ',')
		next += len(entry.Raw) + 1
		d.Add(body[entry.Index : entry.Index+len(entry.Raw)])
		return framed
	})
	if next > len(tagsHead) {
		next-- // no comma after the last
	}
	return d.String(), framed && next == len(list)-len(tagsTail)
}
