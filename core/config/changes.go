package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Changes are the keys, dotted and in order of the alphabet, under which two
// configurations differ: poll.interval, server.tokens.alice, notify.ops.url. A
// table under a name of the user's that only one of them has is one key,
// notify.ops. Secrets differ if what they reveal does.
func Changes(before, after Config) []string {
	var d differences
	d.compare(nil, reflect.ValueOf(before), reflect.ValueOf(after))
	slices.Sort(d)
	return d
}

type differences []string

// compare adds the keys at and below key.
func (d *differences) compare(key []string, a, b reflect.Value) {
	switch {
	case a.Type() == reflect.TypeFor[Secret]() || a.Kind() != reflect.Struct && a.Kind() != reflect.Map:
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			*d = append(*d, dotted(key))
		}
	case a.Kind() == reflect.Map:
		d.compareNamed(key, a, b)
	default:
		for i := range a.NumField() {
			tag, ok := a.Type().Field(i).Tag.Lookup("toml")
			if !ok {
				continue
			}
			name, _, inline := strings.Cut(tag, ",inline")
			at := key
			if !inline {
				at = append(slices.Clip(key), name)
			}
			d.compare(at, a.Field(i), b.Field(i))
		}
	}
	if n, ok := a.Interface().(Notifier); ok {
		d.compare(key, reflect.ValueOf(n.settings()), reflect.ValueOf(b.Interface().(Notifier).settings()))
	}
}

// compareNamed compares maps by name.
func (d *differences) compareNamed(key []string, a, b reflect.Value) {
	for _, name := range a.MapKeys() {
		at := append(slices.Clip(key), name.String())
		if other := b.MapIndex(name); other.IsValid() {
			d.compare(at, a.MapIndex(name), other)
		} else {
			*d = append(*d, dotted(at))
		}
	}
	for _, name := range b.MapKeys() {
		if !a.MapIndex(name).IsValid() {
			*d = append(*d, dotted(append(slices.Clip(key), name.String())))
		}
	}
}

// settings are n's Settings by their keys in the file.
func (n Notifier) settings() map[string]string {
	if n.Plugin != "" {
		return map[string]string{"settings": n.Settings.Reveal()}
	}
	var values map[string]json.RawMessage
	_ = json.Unmarshal([]byte(n.Settings.Reveal()), &values) // none in the zero Notifier
	keys := map[string]string{}
	for key, value := range values {
		if key != "type" && key != "name" {
			keys[key] = string(value)
		}
	}
	return keys
}
