package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

type statusLine struct{ File string }

func (s *statusLine) Configure(_ context.Context, settings json.RawMessage) error {
	d := json.NewDecoder(bytes.NewReader(settings))
	d.DisallowUnknownFields()
	return d.Decode(s)
}

func (s *statusLine) Notify(_ context.Context, e core.Event) error {
	return os.WriteFile(s.File, []byte(e.Sentence+"\n"), 0o644)
}

func main() { plugin.ServeNotifier(new(statusLine)) }
