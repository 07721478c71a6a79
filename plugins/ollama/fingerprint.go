package ollama

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
)

// A digest identifies a list of entries whatever their order, since Ollama's
// is random among models of the same second: the sum of their SHA-256 hashes
// as 256-bit numbers, and their count.
type digest struct {
	sum [4]uint64 // most significant first
	n   uint64
}

func (d *digest) add(entry []byte) {
	h := sha256.Sum256(entry)
	var carry uint64
	for i := 3; i >= 0; i-- {
		d.sum[i], carry = bits.Add64(d.sum[i], binary.BigEndian.Uint64(h[8*i:]), carry)
	}
	d.n++
}

func (d *digest) String() string {
	b := make([]byte, 0, 40)
	for _, word := range d.sum {
		b = binary.BigEndian.AppendUint64(b, word)
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(b, d.n))
}

func fingerprintOf(models []core.Model) string {
	var d digest
	for _, m := range models {
		d.add(m.Raw)
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
	body = trim(body)
	list := string(body)
	if !strings.HasPrefix(list, tagsHead) || !strings.HasSuffix(list, tagsTail) {
		return "", false
	}
	var d digest
	next := len(tagsHead) // where an entry has to begin
	array := gjson.Result{Type: gjson.JSON, Raw: list[next-1:], Index: next - 1}
	framed := true
	array.ForEach(func(_, entry gjson.Result) bool {
		framed = entry.Index == next && (d.n == 0 || list[next-1] == ',')
		next += len(entry.Raw) + 1
		d.add(body[entry.Index : entry.Index+len(entry.Raw)])
		return framed
	})
	if d.n > 0 {
		next-- // no comma after the last
	}
	return d.String(), framed && next == len(list)-len(tagsTail)
}
