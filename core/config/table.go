package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-af7fee88/foreman/core"
)

// A table is one of the document's, with the names that it may hold. Reading
// asks for every name there is; done then knows which the file made up.
type table struct {
	doc    *document
	key    []string
	values map[string]any
	known  []string
}

// table is the one called name in t, empty if the file has none.
func (t *table) table(name string) *table {
	sub := &table{doc: t.doc, key: t.at(name)}
	set(t, name, &sub.values, func(v any) (map[string]any, error) {
		values, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("must be a table, [%s], not %s", dotted(sub.key), kind(v))
		}
		return values, nil
	})
	return sub
}

func (t *table) at(name string) []string {
	return append(slices.Clip(t.key), name)
}

// set reads what stands at name into dst; where nothing does, or nothing that
// read takes, dst stays.
func set[T any](t *table, name string, dst *T, read func(any) (T, error)) {
	t.known = append(t.known, name)
	v, ok := t.values[name]
	if !ok {
		return
	}
	got, err := read(v)
	if err != nil {
		t.doc.fail(t.at(name), err)
		return
	}
	*dst = got
}

// others are the names of the tables in t that nobody has asked for yet, in
// order of the alphabet.
func (t *table) others() []string {
	var names []string
	for name, v := range t.values {
		if _, ok := v.(map[string]any); ok && !slices.Contains(t.known, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// has reports whether the file sets name.
func (t *table) has(name string) bool {
	_, ok := t.values[name]
	return ok
}

// done refuses every name that nobody has asked for.
func (t *table) done() {
	for name, v := range t.values {
		if !slices.Contains(t.known, name) {
			t.doc.fail(t.at(name), t.unknown(name, v))
		}
	}
}

func (t *table) unknown(name string, v any) error {
	what := "unknown key"
	if _, ok := v.(map[string]any); ok {
		what = "unknown table"
	}
	if near := core.Near(name, t.known); len(near) > 0 {
		return fmt.Errorf("%s; did you mean %q?", what, near[0])
	}
	list := strings.Join(t.known, ", ")
	if len(t.key) == 0 {
		return fmt.Errorf("%s; the tables are %s", what, list)
	}
	return fmt.Errorf("%s; [%s] has %s", what, dotted(t.key), list)
}
