package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/tidwall/gjson"
)

// textOf is, for each route of the target that answers with words, where they
// are in its answer, or in a line of a stream.
var textOf = map[string]func(part gjson.Result) string{
	"/api/generate":   func(part gjson.Result) string { return part.Get("response").Str },
	"/api/chat":       func(part gjson.Result) string { return part.Get("message.content").Str },
	"/v1/completions": func(part gjson.Result) string { return part.Get("choices.0.text").Str },
	"/v1/chat/completions": func(part gjson.Result) string {
		return either(part, "choices.0.delta.content", "choices.0.message.content")
	},
	"/v1/messages": func(part gjson.Result) string { return either(part, "delta.text", "content.#.text") },
	"/v1/responses": func(part gjson.Result) string {
		if kind := part.Get("type").Str; kind != "" && kind != "response.output_text.delta" {
			return ""
		}
		return either(part, "delta", "output.#.content.#.text|@flatten")
	},
}

// either is the text of a stream's part, or else what is at the other path of
// a whole answer, which may be a list of texts.
func either(part gjson.Result, streamed, whole string) string {
	if text := part.Get(streamed); text.Exists() {
		return text.Str
	}
	var all strings.Builder
	found := part.Get(whole)
	if !found.IsArray() {
		return found.Str
	}
	for _, text := range found.Array() {
		all.WriteString(text.Str)
	}
	return all.String()
}

// A textWriter writes the text of an answer, of which the bytes may come in
// any pieces: of JSON lines, of server-sent events, or of one document.
type textWriter struct {
	to    io.Writer
	text  func(part gjson.Result) string
	rest  []byte // no line yet
	whole bool   // it is one document over several lines
}

func (w *textWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for !w.whole {
		line, rest, ended := bytes.Cut(w.rest, []byte("\n"))
		if !ended {
			break
		}
		if w.whole = opens(line); w.whole {
			break
		}
		w.rest = rest
		if err := w.part(line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close writes the text of what has no end of line.
func (w *textWriter) Close() error {
	rest := w.rest
	w.rest = nil
	return w.part(rest)
}

// opens reports whether a line begins a document that doesn't end in it.
func opens(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) > 0 && (line[0] == '{' || line[0] == '[') && !gjson.ValidBytes(line)
}

func (w *textWriter) part(line []byte) error {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data:")))
	if !gjson.ValidBytes(line) {
		return nil // the end of a stream, or what it says besides
	}
	_, err := io.WriteString(w.to, w.text(gjson.ParseBytes(line)))
	return err
}
