package main

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An answer goes to stdout, its bytes or its text.
type answer struct {
	waiter *waiter
	once   onceWriter
	text   *textWriter // nil for all of the bytes
}

func newAnswer(w *waiter) *answer {
	a := &answer{waiter: w}
	a.once = onceWriter{to: output{w}, anew: a.another}
	if w.screen {
		a.once.to = &screenWriter{to: output{w}}
	}
	if text := textOf[w.job.Path]; text != nil && !w.Raw {
		a.text = &textWriter{to: &a.once, text: text}
	}
	return a
}

// begin says that the answer comes from its beginning.
func (a *answer) begin() {
	a.once.at = 0
	if a.text != nil {
		*a.text = textWriter{to: a.text.to, text: a.text.text}
	}
}

func (a *answer) Write(p []byte) (int, error) {
	if a.text != nil {
		return a.text.Write(p)
	}
	return a.once.Write(p)
}

// end says that all of the answer has come.
func (a *answer) end() error {
	if a.text == nil {
		return a.once.end()
	}
	if err := a.text.Close(); err != nil {
		return err
	}
	if err := a.once.end(); err != nil {
		return err
	}
	if len(a.once.shown) == 0 {
		a.waiter.progress.clear()
		a.waiter.say("job %s is done; its answer has no text, --raw prints what there is", a.waiter.job.ID)
	}
	return a.endLine()
}

// endLine ends a line of text that has begun.
func (a *answer) endLine() error {
	if n := len(a.once.shown); a.text == nil || n == 0 || a.once.shown[n-1] == '\n' {
		return nil
	}
	_, err := output{a.waiter}.Write([]byte("\n"))
	return err
}

func (a *answer) another() error {
	err := a.endLine()
	a.waiter.progress.clear()
	a.waiter.say("the target has begun anew:")
	return err
}

// output is stdout without the line of progress, which may be in the way.
type output struct{ *waiter }

func (o output) Write(p []byte) (int, error) {
	o.progress.clear()
	return len(p), o.write(p)
}

// A onceWriter writes an answer once, though it may begin anew, as when the
// daemon tells it from the beginning: what comes as before isn't written again.
type onceWriter struct {
	to    io.Writer
	anew  func() error // called before another answer than before is written
	shown []byte
	at    int // so much of shown has come since it last began; 0 when it begins
}

func (w *onceWriter) Write(p []byte) (int, error) {
	same := 0
	for w.at < len(w.shown) && same < len(p) && w.shown[w.at] == p[same] {
		w.at++
		same++
	}
	if same == len(p) {
		return len(p), nil
	}
	rest := p[same:]
	if w.at < len(w.shown) {
		rest = append(w.shown[:w.at:w.at], rest...)
		if err := w.restart(); err != nil {
			return 0, err
		}
	}
	w.shown = append(w.shown, rest...)
	w.at = len(w.shown)
	if _, err := w.to.Write(rest); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end says that all of the answer has come.
func (w *onceWriter) end() error {
	if w.at == len(w.shown) {
		return nil
	}
	all := w.shown[:w.at:w.at]
	if err := w.restart(); err != nil {
		return err
	}
	w.shown = all
	_, err := w.to.Write(all)
	return err
}

func (w *onceWriter) restart() error {
	err := w.anew()
	w.shown, w.at = nil, 0
	return err
}

// A screenWriter writes text to a terminal, with escapes for whatever that
// might obey.
type screenWriter struct {
	to  io.Writer
	cut []byte // the beginning of a character
}

func (w *screenWriter) Write(p []byte) (int, error) {
	text := append(w.cut, p...)
	w.cut = nil
	var safe strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1 && !utf8.FullRune(text):
			w.cut, size = bytes.Clone(text), len(text)
		case r == '\n' || r == '\t' || !unicode.IsControl(r) && (r != utf8.RuneError || size > 1):
			safe.Write(text[:size])
		default:
			safe.WriteString(printable(string(text[:size])))
		}
		text = text[size:]
	}
	_, err := io.WriteString(w.to, safe.String())
	return len(p), err
}
