package target

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// A Digest identifies a list of entries whatever their order: the sum of
// their SHA-256 hashes as 256-bit numbers, and their count.
type Digest struct {
	sum [4]uint64 // most significant first
	n   uint64
}

// Add adds an entry.
func (d *Digest) Add(entry []byte) {
	h := sha256.Sum256(entry)
	var carry uint64
	for i := 3; i >= 0; i-- {
		d.sum[i], carry = bits.Add64(d.sum[i], binary.BigEndian.Uint64(h[8*i:]), carry)
	}
	d.n++
}

func (d *Digest) String() string {
	b := make([]byte, 0, 40)
	for _, word := range d.sum {
		b = binary.BigEndian.AppendUint64(b, word)
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(b, d.n))
}
