package ollama

import (
	"cmp"
	"context"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

const defaultURL = "http://127.0.0.1:11434"

// Configure takes a base URL, whose path is kept as a prefix, and a bearer
// token. There are no settings of its own. Its errors don't repeat the URL or
// the token, either of which may hold a secret.
func (b *Backend) Configure(_ context.Context, s core.Settings) (core.Upstream, error) {
	s.URL = cmp.Or(s.URL, defaultURL)
	ollama, err := target.New(s, "Ollama's API")
	if err != nil {
		return core.Upstream{}, err
	}
	b.target = ollama
	return core.Upstream{URL: ollama.URL, Header: ollama.Header()}, nil
}
