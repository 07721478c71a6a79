package ollama

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"

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

var (
	tagsHead = []byte(`{"models":[`)
	tagsTail = []byte(`]}`)
)

// quickFingerprint is the fingerprint of body if its frame is byte for byte
// the one that Ollama writes. It doesn't check the entries: whoever knows the
// fingerprint of a list that was decoded knows that body is one, too.
func quickFingerprint(body []byte) (string, bool) {
	body = trim(body)
	if !bytes.HasPrefix(body, tagsHead) {
		return "", false
	}
	var d digest
	i := len(tagsHead)
	for i < len(body) && body[i] == '{' {
		end := nestEnd(body, i)
		if end < 0 || end == len(body) {
			return "", false
		}
		d.add(body[i:end])
		i = end
		if body[i] == ',' {
			if i++; i == len(body) || body[i] != '{' {
				return "", false
			}
		} else {
			break
		}
	}
	return d.String(), bytes.Equal(body[i:], tagsTail)
}
