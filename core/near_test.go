package core_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/agext/levenshtein"

	"github.com/seed-af7fee88/foreman/core"
)

// manyNames are n names of a few families, some of which are no valid names.
func manyNames(n int) []string {
	families := []string{"llama3.2", "qwen2.5-coder", "hf.co/someone/Meta-Llama-3.1-8B-Instruct-GGUF", "mistral-nemo", "a", "é€", "me/some-finetune"}
	random := rand.New(rand.NewPCG(1, 2))
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d:%db-q%d_K_M", families[random.IntN(len(families))], i, random.IntN(70), random.IntN(8))
	}
	return names
}

// Near doesn't measure every candidate; what it leaves out is less alike than
// what it returns.
func TestNearFindsTheNearest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		names := manyNames(30)
		word := []rune(strings.ToLower(names[random.IntN(len(names))]))
		for range random.IntN(12) {
			word[random.IntN(len(word))] = rune('a' + random.IntN(26))
		}
		near := core.Near(string(word), names)
		alike := func(name string) float64 { return levenshtein.Match(string(word), strings.ToLower(name), nil) }
		least := 0.5
		if len(near) == 3 {
			least = alike(near[2])
		}
		better := 0
		for _, name := range names {
			if alike(name) > least {
				better++
			}
		}
		if better > len(near) || len(near) == 3 && better > 2 {
			t.Errorf("Near(%q) = %q, but %d are more alike than %.2f", string(word), near, better, least)
		}
	}
}

func BenchmarkNear(b *testing.B) {
	names := manyNames(10_000)
	for _, word := range []string{"zzz", "lama3.2", "hf.co/someone/Meta-Llama-3.1-8B-Instruct-GGUX:Q4_K_M"} {
		b.Run(word, func(b *testing.B) {
			for b.Loop() {
				core.Near(word, names)
			}
		})
	}
}
