package core

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

const (
	// nearest is how alike a candidate must be to be worth suggesting: 0.5
	// offers llama3.2 for lama3, and nothing for a word of another kind.
	nearest = 0.5
	maxNear = 3
)

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
	wanted := lettersOf(word)
	var near []scored
	least := nearest // to be among them
	for _, c := range candidates {
		folded := fold(c)
		score := 0.0
		if base, _, tagged := strings.Cut(folded, ":"); tagged && base == word {
			score = 1 // the right model under another tag
		} else if wanted.atMost(folded) >= least {
			score = levenshtein.Match(word, folded, nil)
		}
		if score < least {
			continue
		}
		near = append(near, scored{c, score})
		slices.SortStableFunc(near, func(a, b scored) int {
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.name, b.name))
		})
		if len(near) >= maxNear {
			near = near[:maxNear]
			least = near[maxNear-1].score
		}
	}
	var names []string
	for _, s := range near {
		names = append(names, s.name)
	}
	return names
}

// letters are how many of each letter a word has, with letters that are 64
// apart counted as one. They tell cheaply that two words are unlike.
type letters struct {
	count [64]int
	total int
}

func lettersOf(word string) letters {
	var l letters
	for _, r := range word {
		l.count[r&63]++
		l.total++
	}
	return l
}

// atMost bounds the score of other: each letter that only one of the words
// has costs an edit.
func (l letters) atMost(other string) float64 {
	missing, total := l.total, 0
	for _, r := range other {
		if l.count[r&63]--; l.count[r&63] >= 0 {
			missing--
		}
		total++
	}
	edits := max(missing, total-(l.total-missing))
	score := 1 - float64(edits)/float64(max(l.total, total, 1))
	if score >= 0.7 { // Match's bonus for the same beginning
		score += 0.4 * (1 - score)
	}
	return score
}
