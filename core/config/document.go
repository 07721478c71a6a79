package config

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/BurntSushi/toml"
)

// A document is a file's syntax tree that knows on which line a key stands,
// and collects what is wrong with it.
type document struct {
	name     string
	text     string
	tree     map[string]any
	entries  map[string]toml.Primitive // the same tree, for line
	md       toml.MetaData
	problems []*Error
}

// newDocument fails with an [*Error] if data isn't TOML.
func newDocument(name string, data []byte) (*document, error) {
	// toml drops a byte order mark itself, and then counts without it.
	d := &document{name: name, text: strings.TrimPrefix(string(data), "\ufeff")}
	if _, err := toml.Decode(d.text, &d.tree); err != nil {
		return nil, d.syntaxError(err)
	}
	md, err := toml.Decode(d.text, &d.entries)
	if err != nil {
		return nil, d.syntaxError(err)
	}
	d.md = md
	return d, nil
}

// sayings are what to tell of toml's messages, by a part of each in lower
// case. Those themselves quote the text at fault, which may be a secret.
var sayings = []struct{ part, problem string }{
	{"has already been defined", "is set twice; remove one"},
	{"was already created", "is set twice, as two kinds of value; remove one"},
	{"strings cannot contain newlines", "the closing quote is missing on this line"},
	{"unexpected eof", "the file ends before this is complete"},
	{"expected value", `there is no value; text goes in quotes, as in key = "text"`},
	{"expected '.' or '='", "expected key = value"},
	{"end table name", "expected ] after the name of the table"},
	{"top-level item to end", "expected the end of the line after the value; text goes in quotes"},
	{"array terminator", "expected a comma or ] in the list"},
	{"inline table terminator", "expected a comma or } in the table"},
	{"escape", `a backslash in "…" begins an escape; write \\, or use '…'`},
	{"hexadecimal digits", `a backslash in "…" begins an escape; write \\, or use '…'`},
	{"control characters", "holds a control character; remove it"},
	{"utf-8", "isn't UTF-8 text"},
	{"out of range", "the number is too large"},
	{"integer", "isn't a number; text goes in quotes"},
	{"float", "isn't a number; text goes in quotes"},
	{"number", "isn't a number; text goes in quotes"},
	{"digit", "isn't a number; text goes in quotes"},
	{"datetime", "isn't a date; text goes in quotes"},
}

// syntaxError is an error of toml's parser without any of the file's text but
// the key.
func (d *document) syntaxError(err error) *Error {
	e := &Error{File: d.name, Problem: "isn't valid TOML"}
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return e
	}
	e.Line, e.Key = d.lineAt(parse.Position.Start), parse.LastKey
	// A table that stands twice is in the message only.
	if _, rest, ok := strings.Cut(parse.Message, "Key '"); ok {
		e.Key, _, _ = strings.Cut(rest, "' ")
	}
	if strings.ContainsFunc(e.Key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		e.Key = strconv.Quote(e.Key)
	}
	message := strings.ToLower(parse.Message)
	for _, s := range sayings {
		if strings.Contains(message, s.part) {
			e.Problem = s.problem
			break
		}
	}
	return e
}

// fail notes that something is wrong with what stands at key.
func (d *document) fail(key []string, err error) {
	d.problems = append(d.problems, &Error{
		File: d.name, Line: d.line(key), Key: dotted(key), Problem: err.Error(),
	})
}

// first is the first problem in the file, nil if there is none.
func (d *document) first() error {
	if len(d.problems) == 0 {
		return nil
	}
	return slices.MinFunc(d.problems, func(a, b *Error) int {
		// Line 0 wraps around to the end: not in the file.
		return cmp.Or(cmp.Compare(uint(a.Line)-1, uint(b.Line)-1), cmp.Compare(a.Key, b.Key))
	})
}

// line is where key stands, or the first key under it, or else the table that
// it belongs to; 0 if none of them is in the file.
func (d *document) line(key []string) int {
	for ; len(key) > 0; key = key[:len(key)-1] {
		for _, k := range d.md.Keys() { // in the order of the file
			if len(k) >= len(key) && slices.Equal(k[:len(key)], toml.Key(key)) {
				if line := d.lineOf(k); line > 0 {
					return line
				}
			}
		}
	}
	return 0
}

// lineOf is where exactly key stands; 0 if it isn't there, is only implied by
// a longer one, or is inside a list. toml tells a key's position in the errors
// of decoding alone, so the key is decoded into something that refuses it.
func (d *document) lineOf(key toml.Key) int {
	entries, last := d.entries, len(key)-1
	for _, part := range key[:last] {
		var inner map[string]toml.Primitive
		if err := d.md.PrimitiveDecode(entries[part], &inner); err != nil {
			return 0
		}
		entries = inner
	}
	var parse toml.ParseError
	err := d.md.PrimitiveDecode(entries[key[last]], refuser{})
	if !errors.As(err, &parse) || parse.Position.Line == 0 {
		return 0
	}
	return d.lineAt(parse.Position.Start)
}

// lineAt is the line of an offset that toml gave. Its own Position.Line is
// where a value ends, and some lines off in syntax errors.
func (d *document) lineAt(offset int) int {
	return 1 + strings.Count(d.text[:min(max(0, offset), len(d.text))], "\n")
}

// A refuser can't be decoded.
type refuser struct{}

func (refuser) UnmarshalTOML(any) error { return errors.New("refused") }
