package core

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// nearest is how alike a candidate must be to be worth suggesting: 0.5 offers
// llama3.2 for lama3, and nothing for a word of another kind.
const nearest = 0.5

// Near returns the candidates that somebody who wrote word may have meant,
// likeliest first, at most three. Case and an implied ":latest" don't count.
func Near(word string, candidates []string) []string {
	type scored struct {
		name  string
		score float64
	}
	fold := func(s string) string { return strings.TrimSuffix(strings.ToLower(s), ":"+defaultTag) }
	word = fold(word)
	if len(word) > 256 { // no name is, and the distance is quadratic
		return nil
	}
	var near []scored
	for _, c := range candidates {
		score := levenshtein.Match(word, fold(c), nil)
		if base, _, tagged := strings.Cut(fold(c), ":"); tagged && base == word {
			score = 1 // the right model under another tag
		}
		if score >= nearest {
			near = append(near, scored{c, score})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, s := range near[:min(3, len(near))] {
		names = append(names, s.name)
	}
	return names
}
