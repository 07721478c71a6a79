// Package mkgguf writes tiny, valid GGUF model files, so that tests can have a
// real Ollama load, run and list models without a download or a GPU.
//
//   - A [Parrot] is a llama that answers any prompt with one fixed sentence.
//   - An [Embedder] is a bert with random weights: it embeds and can't chat.
//
// The same value always gives the same bytes, hence the same digest. This
// file is the format, in version 3; its source is ggml's docs/gguf.md.
package mkgguf

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
)

// The types of a metadata value.
const (
	typeUint32  uint32 = 4
	typeInt32   uint32 = 5
	typeFloat32 uint32 = 6
	typeBool    uint32 = 7
	typeString  uint32 = 8
	typeArray   uint32 = 9
)

// The types of a tensor's elements.
const (
	elemF32 uint32 = 0
	elemF16 uint32 = 1
)

// alignment is where tensors begin: the format's default.
const alignment = 32

// metadata is the key-value part of a file, encoded as it is added.
type metadata struct {
	bytes.Buffer
	count uint64
}

// set adds one value: a uint32, float32, bool, string, or a slice of int32,
// float32 or string.
func (m *metadata) set(key string, value any) {
	m.count++
	putString(m, key)
	switch v := value.(type) {
	case uint32:
		put(m, typeUint32, v)
	case float32:
		put(m, typeFloat32, v)
	case bool:
		put(m, typeBool, v)
	case string:
		put(m, typeString)
		putString(m, v)
	case []int32:
		put(m, typeArray, typeInt32, uint64(len(v)), v)
	case []float32:
		put(m, typeArray, typeFloat32, uint64(len(v)), v)
	case []string:
		put(m, typeArray, typeString, uint64(len(v)))
		for _, s := range v {
			putString(m, s)
		}
	default:
		panic("mkgguf: no encoding for the value of " + key)
	}
}

// A tensor is named numbers; shape has the length of a row first.
type tensor struct {
	name  string
	elem  uint32
	shape []uint64
	data  []float32
}

// matrix is a tensor of half floats, as converters store weights.
func matrix(name string, row, rows int, data []float32) tensor {
	return tensor{name, elemF16, []uint64{uint64(row), uint64(rows)}, data}
}

// table is a matrix that ggml adds to others and so wants in full floats.
func table(name string, row, rows int, data []float32) tensor {
	return tensor{name, elemF32, []uint64{uint64(row), uint64(rows)}, data}
}

func vector(name string, data []float32) tensor {
	return tensor{name, elemF32, []uint64{uint64(len(data))}, data}
}

// encode returns the numbers, padded to where the next tensor begins.
func (t tensor) encode() []byte {
	var b bytes.Buffer
	for _, x := range t.data {
		if t.elem == elemF16 {
			put(&b, half(x))
		} else {
			put(&b, x)
		}
	}
	pad(&b)
	return b.Bytes()
}

// write writes a whole file to w.
func write(w io.Writer, meta *metadata, tensors []tensor) error {
	var head, body bytes.Buffer
	head.WriteString("GGUF")
	put(&head, uint32(3), uint64(len(tensors)), meta.count)
	head.Write(meta.Bytes())
	for _, t := range tensors {
		putString(&head, t.name)
		put(&head, uint32(len(t.shape)), t.shape, t.elem, uint64(body.Len()))
		body.Write(t.encode())
	}
	pad(&head)
	if _, err := head.WriteTo(w); err != nil {
		return err
	}
	_, err := body.WriteTo(w)
	return err
}

// put appends values of fixed size. A Buffer's writes don't fail.
func put(w io.Writer, values ...any) {
	for _, v := range values {
		_ = binary.Write(w, binary.LittleEndian, v)
	}
}

func putString(w io.Writer, s string) {
	put(w, uint64(len(s)), []byte(s))
}

func pad(b *bytes.Buffer) {
	for b.Len()%alignment != 0 {
		b.WriteByte(0)
	}
}

// half rounds x to an IEEE half float; what is too small for a normal one
// becomes zero.
func half(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	exponent := int(bits>>23&0xff) - 127 + 15
	if exponent <= 0 {
		return sign
	}
	if exponent >= 31 {
		return sign | 0x7c00
	}
	fraction := bits & 0x7fffff
	rounded := uint32(exponent)<<10 | fraction>>13
	if fraction&0x1000 != 0 {
		rounded++
	}
	return sign | uint16(rounded)
}
