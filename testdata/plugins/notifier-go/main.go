package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

type statusLine struct{ File string }

func (s *statusLine) Configure(_ context.Context, settings json.RawMessage) error {
	return plugin.Decode(settings, s)
}

func (s *statusLine) Notify(_ context.Context, e core.Event) error {
	return os.WriteFile(s.File, []byte(e.Sentence+"\n"), 0o644)
}

func main() { plugin.ServeNotifier(new(statusLine)) }
