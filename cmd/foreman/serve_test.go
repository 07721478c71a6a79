package main

import (
	"bytes"
	"log"
	"log/slog"
	"testing"

	"github.com/seed-af7fee88/foreman/core/config"
)

// net/http writes so to the standard logger of an answer that nobody asked for.
func TestWhatLibrariesLogIsInFormAndQuotesNothing(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelInfo:  "",
		slog.LevelDebug: `"level":"DEBUG","msg":"a library says","text":"Unsolicited response received on idle HTTP channel starting with"}` + "\n",
	} {
		var out bytes.Buffer
		library := log.New(strays{logger(&out, config.Log{Format: "json"}, level)}, "", 0)
		library.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "SECRET", nil)
		if got := out.String(); len(got) < len(want) || got[len(got)-len(want):] != want || want == "" && got != "" {
			t.Errorf("at %v: %s", level, got)
		}
	}
}
