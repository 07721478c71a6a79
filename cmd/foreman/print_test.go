package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"llama3.2:latest":    "llama3.2:latest",
		"größe 模型 🦙":         "größe 模型 🦙",
		"\x1b[31mred":        `\x1b[31mred`,
		"a\nb\r\tc\x00\x7f":  `a\nb\r\tc\x00\x7f`,
		"\u009b31m":          `\u009b31m`,
		"safe\u202egpj.exe":  `safe\u202egpj.exe`,
		"zero\u200bwidth":    `zero\u200bwidth`,
		"tag\U000E0041":      `tag\U000e0041`,
		"\xff\xc3(":          `\xff\xc3(`,
		"it's \uFFFD, truly": "it's \uFFFD, truly",
	} {
		if got := printable(s); got != want {
			t.Errorf("printable(%q) = %q, want %q", s, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("llama3.2:latest")
	f.Add("\x1b]0;x\a\u202e\U000E0041\xff'\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || !utf8.ValidString(got) {
			t.Errorf("printable(%q) = %q", s, got)
		}
		if printable(got) != got {
			t.Errorf("printable(%q) isn't left as it is", got)
		}
	})
}

func FuzzJSONIsPrintableAndMeansTheSame(f *testing.F) {
	f.Add("evil\x1b\u009b\u202e\U000E0041\x7f\n<&>")
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		e := &env{stdout: &out}
		if err := e.json([]string{s}); err != nil {
			t.Fatal(err)
		}
		layout := strings.NewReplacer("\n", "")
		if got := layout.Replace(out.String()); printable(got) != got {
			t.Errorf("%q is written as %q", s, got)
		}
		var back []string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		want := []string{string([]rune(s))} // broken UTF-8 can't be told in JSON
		if diff := cmp.Diff(want, back); diff != "" {
			t.Error(diff)
		}
	})
}
