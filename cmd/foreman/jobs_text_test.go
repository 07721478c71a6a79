package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// texts are what targets answer on each route, and the text of that.
var texts = []struct{ path, answer, text string }{
	{"/api/generate", `{"model":"m","response":"This ","done":false}` + "\n" + `{"response":"is\n\"it\" 模","done":false}` + "\n" +
		`{"response":"","done":true,"context":[1]}` + "\n", "This is\n\"it\" 模"},
	{"/api/generate", `{"response":"whole","done":true}`, "whole"},
	{"/api/generate", `{"response":"","thinking":"hm","done":true}`, ""},
	{"/api/generate", "{\n  \"response\": \"laid\\nout\",\n  \"done\": true\n}\n", "laid\nout"},
	{"/api/chat", `{"message":{"role":"assistant","content":"a"}}` + "\r\n" + `{"message":{"content":" b"},"done":true}`, "a b"},
	{"/api/chat", `{"message":{"content":"","tool_calls":[{"function":{"name":"f"}}]},"done":true}` + "\n", ""},
	{"/v1/completions", `{"choices":[{"text":"whole"}]}`, "whole"},
	{"/v1/completions", "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"text\":\"b\"}]}\n\ndata: [DONE]\n\n", "ab"},
	{"/v1/chat/completions", `{"choices":[{"message":{"content":"whole"}}]}`, "whole"},
	{"/v1/chat/completions", ": hello\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n" +
		"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n", "a"},
	{"/v1/messages", `{"content":[{"type":"text","text":"a"},{"type":"tool_use"},{"type":"text","text":"b"}]}`, "ab"},
	{"/v1/messages", "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n" +
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n" +
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n", "a"},
	{"/v1/responses", `{"object":"response","output":[{"type":"reasoning"},{"content":[{"text":"a"},{"text":"b"}]},{"content":[{"text":"c"}]}]}`, "abc"},
	{"/v1/responses", "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\ndata: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"x\"}\n\n" +
		"data: {\"type\":\"response.output_text.done\",\"text\":\"a\"}\n\n" +
		"data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":\"a\"}]}]}}\n\n", "a"},
}

func TestTextOfAnAnswer(t *testing.T) {
	for _, tt := range texts {
		for size := 1; size <= len(tt.answer); size++ {
			var got strings.Builder
			w := &textWriter{to: &got, text: textOf[tt.path]}
			for rest := []byte(tt.answer); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				if _, err := w.Write(bytes.Clone(rest[:min(size, len(rest))])); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil || got.String() != tt.text {
				t.Fatalf("%s in pieces of %d: %q, %v\nof %s\nwant %q", tt.path, size, got.String(), err, tt.answer, tt.text)
			}
		}
	}
}

// A line is printed when it has come, not when the answer is whole.
func TestTextComesALineAtATime(t *testing.T) {
	var got strings.Builder
	w := &textWriter{to: &got, text: textOf["/api/generate"]}
	for _, step := range []struct{ piece, text string }{
		{`{"response":"a"`, ""},
		{"}\n", "a"},
		{`{"response":"b"}` + "\n" + `{"response`, "ab"},
	} {
		if _, err := w.Write([]byte(step.piece)); err != nil || got.String() != step.text {
			t.Errorf("after %q: %q, %v", step.piece, got.String(), err)
		}
	}
}

func TestAnAnswerIsPrintedOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		tellings []string // of one answer: "|" is where pieces end, "…" where it breaks off
		want     string   // "#" is where it begins anew
	}{
		"once":                       {[]string{"ab|c"}, "abc"},
		"again":                      {[]string{"ab|c…", "a|bc|d"}, "abcd"},
		"again, in full":             {[]string{"abc", "abc"}, "abc"},
		"again, broken off before":   {[]string{"abc…", "a…", "abcd"}, "abcd"},
		"another":                    {[]string{"abc…", "xy"}, "abc#xy"},
		"another in the middle":      {[]string{"abc…", "a|bx|y"}, "abc#abxy"},
		"another, shorter":           {[]string{"abc…", "ab"}, "abc#ab"},
		"nothing after all":          {[]string{"abc…", ""}, "abc#"},
		"another, then that again":   {[]string{"abc…", "ax…", "axy"}, "abc#axy"},
		"another, then the first":    {[]string{"abc…", "ax…", "abc"}, "abc#ax#abc"},
		"another from the beginning": {[]string{"abc…", "x|abc"}, "abc#xabc"},
	} {
		var got strings.Builder
		w := &onceWriter{to: &got, anew: func() error { got.WriteString("#"); return nil }}
		for _, telling := range tt.tellings {
			telling, broken := strings.CutSuffix(telling, "…")
			w.at = 0
			for piece := range strings.SplitSeq(telling, "|") {
				if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
					t.Errorf("%s: Write(%q) = %d, %v", name, piece, n, err)
				}
			}
			if !broken {
				if err := w.end(); err != nil {
					t.Error(err)
				}
			}
		}
		if got.String() != tt.want {
			t.Errorf("%s: %q, want %q", name, got.String(), tt.want)
		}
	}
}

type fullDisk struct{ error }

func (d fullDisk) Write([]byte) (int, error) { return 0, d.error }

func TestAFullDiskEndsAnAnswer(t *testing.T) {
	full := fullDisk{errors.New("no space left")}
	w := &textWriter{to: &onceWriter{to: full}, text: textOf["/api/generate"]}
	if _, err := w.Write([]byte(`{"response":"a"}` + "\n")); err != full.error {
		t.Error(err)
	}
}

func TestATerminalObeysNoAnswer(t *testing.T) {
	const said = "a\tb\n模\x1b[2J\r\x00\u009b é\u202e \U0001F468\u200D\U0001F469 \xff\x7f."
	const want = `a` + "\tb\n" + `模\x1b[2J\r\x00\u009b é` + "\u202e \U0001F468\u200D\U0001F469 " + `\xff\x7f.`
	for size := 1; size <= len(said); size++ {
		var got strings.Builder
		w := &screenWriter{to: &got}
		for rest := said; rest != ""; rest = rest[min(size, len(rest)):] {
			if _, err := w.Write([]byte(rest[:min(size, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if got.String() != want {
			t.Fatalf("in pieces of %d: %q, want %q", size, got.String(), want)
		}
	}
}
