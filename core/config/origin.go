package config

import (
	"hash/maphash"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-af7fee88/foreman/core"
)

// A reading is what a [Config] was made of. Nothing changes it afterwards.
type reading struct {
	name  string // of the file, as it was given; "" if there is none
	text  Secret // what it holds; here for the secrets that are in it
	files []File
}

// A File is one that a configuration depends on, and what it held when it was
// read.
type File struct {
	Path string // absolute
	sum  sum
}

func (f File) String() string { return f.Path }

// A sum stands for a file's contents, 0 for none: no such file, or one that
// can't be read. Its seed keeps it from telling anything about a secret.
type sum uint64

var seed = maphash.MakeSeed()

// fileAt is the file at path, which held data; nil if it couldn't be read.
func fileAt(path string, data []byte) File {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return File{Path: path, sum: sumOf(data)}
}

func sumOf(data []byte) sum {
	if data == nil {
		return 0
	}
	return sum(maphash.Bytes(seed, data))
}

// File is the configuration file as it was named, or "" if there is none.
func (c Config) File() string {
	if c.read == nil {
		return ""
	}
	return c.read.name
}

// Files are what c was read from, for [Watcher.Follow]: the configuration file
// and those that its secrets name. That they couldn't be read, or hold what
// was refused, doesn't leave them out: a change of theirs may mend it.
func (c Config) Files() []File {
	if c.read == nil {
		return nil
	}
	return slices.Clone(c.read.files)
}

// Blank reports whether there is a file and nothing in it, as when a disk was
// full while it was saved.
func (c Config) Blank() bool {
	return c.File() != "" && strings.TrimSpace(c.read.text.Reveal()) == ""
}

// longestProblem is how much of a plugin's words a problem quotes, in bytes.
const longestProblem = 1000

// Problem is the error of the file's key, dotted, that only shows once its
// value is used.
func (c Config) Problem(key string, err error) *Error {
	e := &Error{Key: key, Problem: core.OneLine(err.Error(), longestProblem)}
	if c.read == nil {
		return e
	}
	e.File = c.read.name
	if doc, err := newDocument(c.read.name, []byte(c.read.text.Reveal())); err == nil {
		e.Line = doc.line(doc.split(key))
	}
	return e
}

// split is the key that [dotted] writes as s.
func (d *document) split(s string) []string {
	for _, k := range d.md.Keys() {
		for n := range k {
			if dotted(k[:n+1]) == s {
				return k[:n+1]
			}
		}
	}
	return strings.Split(s, ".") // perhaps a table on the way is there
}
