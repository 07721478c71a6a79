package plugintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// manyModels with names of longName bytes are more than the 4 MiB that gRPC
	// takes unless it is told, whatever else a plugin sends of each.
	manyModels = 10_000
	longName   = 450
)

// testManyModels wants all models of a target that lists very many: the
// answers of the good one pass through a [multiplier].
func testManyModels(t *testing.T, open func(*testing.T) (core.Backend, core.Settings)) {
	b, settings := open(t)
	s := &subject{b, settings}
	names := map[string]bool{}
	for _, m := range s.list(t, s.configured(t), "").Models {
		names[m.Name] = true
	}
	m := newMultiplier(t, settings.URL, names)
	b, settings = open(t)
	settings.URL = m.url
	s = &subject{b, settings}
	s.configured(t)
	list := s.list(t, within(t, 3*patience), "")
	if !m.took.Load() {
		t.Skip("the target's answers hold no JSON array of objects with the models' names: it can't be made to list more")
	}
	listed := map[string]bool{}
	for _, model := range list.Models {
		listed[model.Name] = true
	}
	for name := range names {
		for i := range m.copies {
			if copied := copyName(name, i); !listed[copied] {
				t.Fatalf("it lists %d models of %d: %.20s… isn't among them", len(listed), len(names)*(m.copies+1), copied)
			}
		}
	}
}

// A multiplier is a target that has each model of another one many times. It
// knows no target's language, only the models' names: in JSON it copies each
// object that has one of them among its values and stands in an array.
type multiplier struct {
	url    string
	names  map[string]bool
	copies int         // of each model
	took   atomic.Bool // whether an answer had a model
}

func newMultiplier(t *testing.T, target string, names map[string]bool) *multiplier {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	m := &multiplier{names: names, copies: manyModels / max(1, len(names))}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Accept-Encoding") // then the transport inflates
		},
		ModifyResponse: m.multiply,
		Transport:      &http.Transport{DisableKeepAlives: true},
	})
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

// multiply leaves an answer that is no JSON as it is.
func (m *multiplier) multiply(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) == nil {
		if body, err = json.Marshal(m.grow(value)); err != nil {
			return err
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}

func (m *multiplier) grow(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			value[key] = m.grow(member)
		}
	case []any:
		grown := []any{}
		for _, item := range value {
			grown = append(append(grown, m.grow(item)), m.copy(item)...)
		}
		return grown
	}
	return value
}

// copy returns a model's copies, each under a name of its own, and nothing of
// what is no model.
func (m *multiplier) copy(item any) (copies []any) {
	object, _ := item.(map[string]any)
	for _, member := range object {
		if name, ok := member.(string); !ok || !m.names[name] {
			continue
		}
		m.took.Store(true)
		for i := range m.copies {
			copies = append(copies, m.rename(object, i))
		}
		return copies
	}
	return nil
}

func (m *multiplier) rename(object map[string]any, i int) map[string]any {
	renamed := make(map[string]any, len(object))
	for key, member := range object {
		if name, ok := member.(string); ok && m.names[name] {
			member = copyName(name, i)
		}
		renamed[key] = member
	}
	return renamed
}

// copyName is a name of which few rules for names complain.
func copyName(name string, i int) string {
	copied := fmt.Sprintf("m%d-%s", i, name)
	return strings.Repeat("m", max(0, longName-len(copied))) + copied
}
