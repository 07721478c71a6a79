package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/mattn/go-isatty"
)

// printable is s with escapes for whatever a terminal might obey or hide:
// control characters, bidirectional overrides, invisible spaces, broken UTF-8.
func printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unprintable(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// printableJSON is a valid document that means the same as doc and that
// printable would leave as it is, but for the newlines of its layout.
func printableJSON(doc []byte) []byte {
	// What encoding/json doesn't escape stands in a string.
	escape := func(r rune) bool { return r >= '\x7f' && unprintable(r) }
	if bytes.IndexFunc(doc, escape) < 0 {
		return doc
	}
	var b bytes.Buffer
	for _, r := range string(doc) {
		switch {
		case !escape(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// write puts the whole answer on stdout at once.
func (e *env) write(answer []byte) error {
	if _, err := e.stdout.Write(answer); err != nil {
		return fmt.Errorf("%w: %w", errCantTell, err)
	}
	return nil
}

// lines writes one line for each.
func (e *env) lines(lines []string) error {
	var b bytes.Buffer
	for _, line := range lines {
		b.WriteString(printable(line) + "\n")
	}
	return e.write(b.Bytes())
}

// table writes rows in columns. The first is the header.
func (e *env) table(rows [][]string) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				_, _ = io.WriteString(w, "\t") // to memory: it can't fail
			}
			_, _ = io.WriteString(w, printable(cell))
		}
		_, _ = io.WriteString(w, "\n")
	}
	_ = w.Flush()
	return e.write(b.Bytes())
}

// A field is a label and its value.
type field struct {
	label, value string
	colour       int // SGR; 0 is none
}

const (
	red   = 31
	green = 32
)

// fields writes one a line.
func (e *env) fields(fields []field) error {
	coloured := e.isTerminal() && e.getenv("NO_COLOR") == ""
	var b bytes.Buffer
	for _, f := range fields {
		value := printable(f.value)
		if f.colour != 0 && coloured {
			value = fmt.Sprintf("\x1b[%dm%s\x1b[0m", f.colour, value)
		}
		fmt.Fprintf(&b, "%-11s%s\n", f.label, value)
	}
	return e.write(b.Bytes())
}

// json writes v as an indented document.
func (e *env) json(v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("%w: %w", errCantTell, err)
	}
	return e.write(printableJSON(b.Bytes()))
}

// say writes a line of words, which go to stderr.
func (e *env) say(format string, args ...any) {
	fmt.Fprintln(e.stderr, printable(fmt.Sprintf(format, args...)))
}

func (e *env) warn(format string, args ...any) { e.say("foreman: warning: "+format, args...) }

// isTerminal reports whether stdout is one that obeys escapes.
func (e *env) isTerminal() bool { return e.obeysEscapes(e.stdout) }

// obeysEscapes reports whether to is a terminal that does.
func (e *env) obeysEscapes(to io.Writer) bool {
	f, ok := to.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && e.getenv("TERM") != "dumb"
}

// clear empties the terminal's window.
func (e *env) clear() error { return e.write([]byte("\x1b[H\x1b[2J")) }

// tellOrigin says where n things come from, and warns if they are old news.
func (e *env) tellOrigin(n int, thing string, o origin) {
	from := "the " + o.source
	if o.url != "" {
		from += " at " + o.url
	}
	e.say("%s, from %s, confirmed %s", count(n, thing), from, ago(o.asOf))
	e.warnOfAge(o)
}

// warnOfAge warns if nobody confirms the list at present.
func (e *env) warnOfAge(o origin) {
	if !o.stale && !o.degraded {
		return
	}
	why := "the daemon hasn't seen its target yet"
	if o.reason != "" {
		why = fmt.Sprintf("the target can't be asked (%s)", o.reason)
	}
	e.warn("%s; the list is from %s", why, ago(o.asOf))
}

func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// ago is how long before now t is, in words.
func ago(t time.Time) string {
	if time.Since(t) < time.Second {
		return "just now"
	}
	return humanize.Time(t)
}

// in is how long after now t is, in words.
func in(t, now time.Time) string {
	if t.Sub(now) < time.Second {
		return "now"
	}
	return "in " + strings.TrimSpace(humanize.RelTime(now, t, "", ""))
}

// size is in decimal units, as Ollama writes sizes.
func size(bytes int64) string { return humanize.Bytes(uint64(max(0, bytes))) }

// id is the start of a digest that tells models apart.
func id(digest string) string { return orDash(digest[:min(12, len(digest))]) }

// orDash fills a cell that would be empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// document is the beginning of every JSON answer that is made of a list.
type document struct {
	SchemaVersion int            `json:"schema_version"`
	Source        string         `json:"source"`
	Target        documentTarget `json:"target"`
	AsOf          time.Time      `json:"as_of"`
	AgeSeconds    int64          `json:"age_seconds"`
	Stale         bool           `json:"stale"`
	Degraded      bool           `json:"degraded"`
}

type documentTarget struct {
	Backend string `json:"backend"`
	URL     string `json:"url"`
}

func (o origin) document() document {
	return document{
		SchemaVersion: 1,
		Source:        o.source,
		Target:        documentTarget{o.target.Backend, o.target.URL},
		AsOf:          o.asOf.UTC().Truncate(time.Second),
		AgeSeconds:    int64(max(0, time.Since(o.asOf)) / time.Second),
		Stale:         o.stale,
		Degraded:      o.degraded,
	}
}

// timeOrNull is t for JSON.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
