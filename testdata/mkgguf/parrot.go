package mkgguf

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// Sentence is what a [Parrot] says. No word comes twice, since the next word
// depends on nothing but the current one.
const Sentence = "rayleigh scattering of sunlight by nitrogen and oxygen makes the sky blue while " +
	"water droplets refract white light into a rainbow over brown soil"

// A Parrot is a llama that answers any prompt with [Sentence], a word a
// token, and then stops.
type Parrot struct {
	Name    string
	Forever bool // begins the sentence anew instead of stopping
}

// The parrot's shape. A row must hold a word of the sentence in each
// dimension but the first.
const (
	parrotRow     = 64
	parrotLayers  = 2
	parrotHeads   = 2
	parrotContext = 4096
)

// Write writes the model file.
func (p Parrot) Write(w io.Writer) error {
	vocab := newVocabulary()
	var meta metadata
	meta.set("general.architecture", "llama")
	meta.set("general.name", p.Name)
	meta.set("general.file_type", uint32(1)) // mostly F16
	meta.set("general.quantization_version", uint32(2))
	meta.set("llama.vocab_size", uint32(len(vocab.tokens)))
	meta.set("llama.context_length", uint32(parrotContext))
	meta.set("llama.embedding_length", uint32(parrotRow))
	meta.set("llama.block_count", uint32(parrotLayers))
	meta.set("llama.feed_forward_length", uint32(parrotRow))
	meta.set("llama.rope.dimension_count", uint32(parrotRow/parrotHeads))
	meta.set("llama.rope.freq_base", float32(10000))
	meta.set("llama.attention.head_count", uint32(parrotHeads))
	meta.set("llama.attention.head_count_kv", uint32(parrotHeads))
	meta.set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	vocab.describe(&meta)

	in, out := chain(vocab, p.Forever)
	tensors := []tensor{
		matrix("token_embd.weight", parrotRow, len(vocab.tokens), in),
		vector("output_norm.weight", constant(parrotRow, 1)),
		matrix("output.weight", parrotRow, len(vocab.tokens), out),
	}
	return write(w, &meta, append(tensors, idleLayers()...))
}

// chain makes the two matrices that turn a word into the next one. Dimension
// 0 of a row is a constant, the bias; dimension 1+i is hot while word i is
// the current token. The layers between add next to nothing, so the word that
// these weights prefer wins by a wide margin.
func chain(vocab vocabulary, forever bool) (in, out []float32) {
	size := len(vocab.tokens) * parrotRow
	in, out = make([]float32, size), make([]float32, size)
	for token := range vocab.tokens {
		in[token*parrotRow] = 1
		out[token*parrotRow] = -8 // never say bytes, letters or control tokens
	}
	out[vocab.end*parrotRow] = -4
	for i, word := range vocab.words {
		in[word*parrotRow+1+i] = 3
		out[word*parrotRow] = -4
	}
	first := vocab.words[0]
	out[first*parrotRow] = 4 // what follows anything else
	for i := range vocab.words {
		next := vocab.end
		if i+1 < len(vocab.words) {
			next = vocab.words[i+1]
		} else if forever {
			next = first
		}
		out[next*parrotRow+1+i] += 12
		if next != first {
			out[first*parrotRow+1+i] -= 6
		}
	}
	return in, out
}

// idleLayers are transformer blocks with small random weights, which leave
// the bias dimension alone.
func idleLayers() []tensor {
	random := rand.New(rand.NewPCG(1, 1))
	square := func(name string) tensor {
		return matrix(name, parrotRow, parrotRow, gauss(random, parrotRow*parrotRow, 0.0025))
	}
	silent := func(name string) tensor { // writes nothing to dimension 0
		t := square(name)
		clear(t.data[:parrotRow])
		return t
	}
	var layers []tensor
	for i := range parrotLayers {
		block := fmt.Sprintf("blk.%d.", i)
		layers = append(layers,
			vector(block+"attn_norm.weight", constant(parrotRow, 1)),
			square(block+"attn_q.weight"),
			square(block+"attn_k.weight"),
			square(block+"attn_v.weight"),
			silent(block+"attn_output.weight"),
			vector(block+"ffn_norm.weight", constant(parrotRow, 1)),
			square(block+"ffn_gate.weight"),
			square(block+"ffn_up.weight"),
			silent(block+"ffn_down.weight"),
		)
	}
	return layers
}

// The kinds of a token, as sentencepiece has them.
const (
	tokenNormal  int32 = 1
	tokenUnknown int32 = 2
	tokenControl int32 = 3
	tokenByte    int32 = 6
)

// space is how sentencepiece writes the blank before a word.
const space = "\u2581"

// A vocabulary is a sentencepiece tokenizer that knows every byte, every
// letter and the words of the sentence.
type vocabulary struct {
	tokens []string
	scores []float32
	kinds  []int32
	end    int   // the token that stops an answer
	words  []int // the sentence
}

func newVocabulary() vocabulary {
	var v vocabulary
	v.add("<unk>", 0, tokenUnknown)
	v.add("<s>", 0, tokenControl)
	v.end = v.add("</s>", 0, tokenControl)
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), 0, tokenByte)
	}
	v.add(space, -1, tokenNormal)
	for letter := 'a'; letter <= 'z'; letter++ {
		v.add(string(letter), -2, tokenNormal)
	}
	for word := range strings.FieldsSeq(Sentence) {
		v.words = append(v.words, v.add(space+word, -3, tokenNormal))
	}
	return v
}

// add returns the new token's number.
func (v *vocabulary) add(token string, score float32, kind int32) int {
	v.tokens, v.scores, v.kinds = append(v.tokens, token), append(v.scores, score), append(v.kinds, kind)
	return len(v.tokens) - 1
}

func (v *vocabulary) describe(meta *metadata) {
	meta.set("tokenizer.ggml.model", "llama")
	meta.set("tokenizer.ggml.pre", "default")
	meta.set("tokenizer.ggml.tokens", v.tokens)
	meta.set("tokenizer.ggml.scores", v.scores)
	meta.set("tokenizer.ggml.token_type", v.kinds)
	meta.set("tokenizer.ggml.unknown_token_id", uint32(0))
	meta.set("tokenizer.ggml.bos_token_id", uint32(1))
	meta.set("tokenizer.ggml.eos_token_id", uint32(v.end))
	meta.set("tokenizer.ggml.add_bos_token", true)
	meta.set("tokenizer.ggml.add_eos_token", false)
}

func constant(n int, x float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = x
	}
	return v
}

// gauss returns n normally distributed numbers.
func gauss(random *rand.Rand, n int, deviation float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(random.NormFloat64() * deviation)
	}
	return v
}
