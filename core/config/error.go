package config

import (
	"strconv"
	"strings"
	"unicode"
)

// An Error is one thing that is wrong with a configuration, on one line, with
// no secret in it.
type Error struct {
	File    string // as it was named; "" if there is none
	Line    int    // from 1; 0 if it isn't about a line
	Key     string // dotted; "" if it isn't about a key
	Problem string // and what to do
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line))
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// dotted writes a key as TOML would, but with nothing in it that a terminal
// obeys.
func dotted(key []string) string {
	parts := make([]string, len(key))
	for i, part := range key {
		parts[i] = part
		if part == "" || strings.ContainsFunc(part, notBare) {
			parts[i] = strconv.Quote(part)
		}
	}
	return strings.Join(parts, ".")
}

// notBare reports whether TOML wants a key with r in it quoted.
func notBare(r rune) bool {
	return r > unicode.MaxASCII || !(unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '-')
}
