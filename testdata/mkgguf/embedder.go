package mkgguf

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
)

// An Embedder is a bert with random weights.
type Embedder struct {
	Name string
}

// The embedder's shape.
const (
	bertRow     = 32
	bertInner   = 64 // of the feed-forward part
	bertLayers  = 2
	bertHeads   = 2
	bertContext = 512
)

// Write writes the model file.
func (e Embedder) Write(w io.Writer) error {
	tokens, kinds := wordpieces()
	var meta metadata
	meta.set("general.architecture", "bert")
	meta.set("general.name", e.Name)
	meta.set("general.file_type", uint32(1)) // mostly F16
	meta.set("general.quantization_version", uint32(2))
	meta.set("bert.vocab_size", uint32(len(tokens)))
	meta.set("bert.context_length", uint32(bertContext))
	meta.set("bert.embedding_length", uint32(bertRow))
	meta.set("bert.block_count", uint32(bertLayers))
	meta.set("bert.feed_forward_length", uint32(bertInner))
	meta.set("bert.attention.head_count", uint32(bertHeads))
	meta.set("bert.attention.head_count_kv", uint32(bertHeads))
	meta.set("bert.attention.layer_norm_epsilon", float32(1e-12))
	meta.set("bert.attention.causal", false)
	meta.set("bert.pooling_type", uint32(1)) // the mean
	meta.set("tokenizer.ggml.model", "bert")
	meta.set("tokenizer.ggml.tokens", tokens)
	meta.set("tokenizer.ggml.scores", make([]float32, len(tokens)))
	meta.set("tokenizer.ggml.token_type", kinds)
	meta.set("tokenizer.ggml.token_type_count", uint32(2))
	for i, key := range []string{"padding", "unknown", "cls", "seperator", "mask"} { // [sic], as ggml spells it
		meta.set("tokenizer.ggml."+key+"_token_id", uint32(i))
	}
	meta.set("tokenizer.ggml.bos_token_id", uint32(2))
	meta.set("tokenizer.ggml.eos_token_id", uint32(3))
	return write(w, &meta, bertTensors(len(tokens)))
}

// wordpieces is a vocabulary of every printable character, at a word's start
// and within.
func wordpieces() (tokens []string, kinds []int32) {
	for _, special := range []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} {
		tokens, kinds = append(tokens, special), append(kinds, tokenControl)
	}
	for c := '!'; c <= '~'; c++ {
		if 'A' <= c && c <= 'Z' { // input is lowered first
			continue
		}
		tokens, kinds = append(tokens, string(c), space+string(c)), append(kinds, tokenNormal, tokenNormal)
	}
	return tokens, kinds
}

func bertTensors(vocabulary int) []tensor {
	random := rand.New(rand.NewPCG(1, 1))
	tensors := []tensor{
		matrix("token_embd.weight", bertRow, vocabulary, gauss(random, vocabulary*bertRow, 1)),
		table("token_types.weight", bertRow, 2, gauss(random, 2*bertRow, 0.1)),
		table("position_embd.weight", bertRow, bertContext, gauss(random, bertContext*bertRow, 0.1)),
	}
	linear := func(name string, in, out int) {
		tensors = append(tensors,
			matrix(name+".weight", in, out, gauss(random, in*out, 1/math.Sqrt(bertRow))),
			vector(name+".bias", constant(out, 0)))
	}
	norm := func(name string) {
		tensors = append(tensors,
			vector(name+".weight", constant(bertRow, 1)),
			vector(name+".bias", constant(bertRow, 0)))
	}
	norm("token_embd_norm")
	for i := range bertLayers {
		block := fmt.Sprintf("blk.%d.", i)
		linear(block+"attn_q", bertRow, bertRow)
		linear(block+"attn_k", bertRow, bertRow)
		linear(block+"attn_v", bertRow, bertRow)
		linear(block+"attn_output", bertRow, bertRow)
		norm(block + "attn_output_norm")
		linear(block+"ffn_up", bertRow, bertInner)
		linear(block+"ffn_down", bertInner, bertRow)
		norm(block + "layer_output_norm")
	}
	return tensors
}
