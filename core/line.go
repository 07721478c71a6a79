package core

import (
	"strings"
	"unicode"
)

// OneLine is s with every run of what doesn't print as one space, and an
// ellipsis in place of what is beyond most bytes: words of somebody else that
// mustn't break a line of ours, nor be obeyed by a terminal.
func OneLine(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
