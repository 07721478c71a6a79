package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/config"
)

// full.toml has another value than the default for each key, so that each is
// among the changes by the name that the file has for it.
func TestEveryKeyMayChange(t *testing.T) {
	full, err := config.Load(fullFile, environ("BOB_TOKEN", "1", "TARGET_TOKEN", "1"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fullFile)
	if err != nil {
		t.Fatal(err)
	}
	md, err := toml.Decode(string(text), new(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, k := range md.Keys() {
		table := len(k) == 1 || len(k) == 2 && k[0] == "server" && (k[1] == "tls" || k[1] == "tokens")
		named := k[0] == "plugins" || k[0] == "notify" || k[0] == "target"
		switch {
		case table:
		case named && len(k) > 2, len(k) > 3: // of a new table the name is all, and a secret is one value
		default:
			want = append(want, k.String())
		}
	}
	slices.Sort(want)
	defaults := config.Default(environ())
	if diff := cmp.Diff(want, config.Changes(defaults, full)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, config.Changes(full, defaults)); diff != "" {
		t.Errorf("the other way around: %s", diff)
	}
}

func TestChangesByKey(t *testing.T) {
	const (
		hook   = "[notify.ops]\ntype = 'webhook'\nurl = 'http://a/b'\n"
		lamp   = "[plugins.lamp]\npath = '/lamp'\n[notify.ops]\nplugin = 'lamp'\n"
		vllm   = "[plugins.vllm]\npath = '/vllm'\n"
		tokens = "[server.tokens]\nalice = 'a'\n'B O B' = 'b'\n"
	)
	for _, tt := range []struct {
		before, after string
		want          []string
	}{
		{"", "", nil},
		{"", "[poll]\ninterval = '30s'", nil},
		{"[poll]\ninterval = '60s'", "[poll]\ninterval = '1m'", nil},
		{"[poll]\ninterval = '31s'\nrise = 4", "[log]\nlevel = 'warn'", []string{"log.level", "poll.interval", "poll.rise"}},
		{"[admission]\nallow = ['a', 'b']", "[admission]\nallow = ['b', 'a']", []string{"admission.allow"}},
		{"[admission]\nallow = []", "", nil},
		{tokens, "[server.tokens]\nalice = 'a'\n'B O B' = 'c'\n", []string{`server.tokens."B O B"`}},
		{tokens, "[server.tokens]\nalice = 'a'\ncarol = 'c'\n", []string{`server.tokens."B O B"`, "server.tokens.carol"}},
		{hook, hook + "timeout = '1s'\nevents = ['*']", []string{"notify.ops.events", "notify.ops.timeout"}},
		{hook, "[notify.ops]\ntype = 'webhook'\nurl = 'http://a/c'\n", []string{"notify.ops.url"}},
		{hook, hook + "allow_private = true\nsecret = 'MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u'", []string{"notify.ops.allow_private", "notify.ops.secret"}},
		{hook + "allow_private = false", hook, nil},
		{hook, "[notify.ops]\ntype = 'service'\nurl = 'http+x://a/b'\n", []string{"notify.ops.type", "notify.ops.url"}},
		{hook, "[notify.new]\ntype = 'webhook'\nurl = 'http://a/b'\n", []string{"notify.new", "notify.ops"}},
		{lamp, lamp + "settings.color = 'red'", []string{"notify.ops.settings"}},
		{lamp + "settings = {}", lamp, nil},
		{hook, lamp, []string{"notify.ops.plugin", "notify.ops.settings", "notify.ops.type", "notify.ops.url", "plugins.lamp"}},
		{vllm, vllm + "settings.region = 'eu'", []string{"plugins.vllm.settings"}},
		{vllm + "settings = { a = 1, b = 2 }", vllm + "settings = { b = 2, a = 1 }", nil},
		{"[target]\ntoken = 'a'", "[target]\ntoken = { env = 'A' }", nil},
		{"[target]\ntoken = 'b'", "[target]\ntoken = { env = 'A' }", []string{"target.token"}},
	} {
		before, after := parse(t, "foreman.toml", tt.before), parse(t, "foreman.toml", tt.after)
		if diff := cmp.Diff(tt.want, config.Changes(before, after)); diff != "" {
			t.Errorf("from %q\nto %q:\n%s", tt.before, tt.after, diff)
		}
	}
}

func TestSecretFileRotated(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "foreman.toml")
	write(t, filepath.Join(dir, "token"), "old")
	before := parse(t, name, "[target]\ntoken = { file = 'token' }")
	write(t, filepath.Join(dir, "token"), "new")
	after := parse(t, name, "[target]\ntoken = { file = 'token' }")
	if diff := cmp.Diff([]string{"target.token"}, config.Changes(before, after)); diff != "" {
		t.Error(diff)
	}
}

func parse(t *testing.T, name, text string) config.Config {
	t.Helper()
	c, err := config.Parse(name, []byte(text), environ("A", "a"))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
