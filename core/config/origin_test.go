package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/config"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	dir, err := os.Getwd() // without the links that the system has on the way
	if err != nil {
		t.Fatal(err)
	}
	write(t, "a.token", "a-secret")
	for _, tt := range []struct {
		what, text string
		want       []string
	}{
		{"nothing else", "", []string{"foreman.toml"}},
		{"a secret", "[target]\ntoken = { file = 'a.token' }", []string{"foreman.toml", "a.token"}},
		{"the URL of a notifier", "[notify.ops]\ntype = 'webhook'\nurl = { file = 'b.url' }", []string{"foreman.toml", "b.url"}},
		{"a secret that isn't there", "[target]\ntoken = { file = 'c.token' }", []string{"foreman.toml", "c.token"}},
		{"a mistake", "[poll]\nfall = 0\n[target]\ntoken = { file = 'a.token' }", []string{"foreman.toml", "a.token"}},
		{"no TOML", "[poll", []string{"foreman.toml"}},
	} {
		write(t, "foreman.toml", tt.text)
		c, _ := config.Load("foreman.toml", environ())
		var got, want []string
		for _, file := range c.Files() {
			got = append(got, file.Path)
		}
		for _, name := range tt.want {
			want = append(want, filepath.Join(dir, name))
		}
		if diff := cmp.Diff(want, got); diff != "" || c.File() != "foreman.toml" {
			t.Errorf("with %s, of %q: %s", tt.what, c.File(), diff)
		}
	}
	c, err := config.Load("other.toml", environ())
	if files := c.Files(); err == nil || len(files) != 1 || files[0].Path != filepath.Join(dir, "other.toml") {
		t.Errorf("of a file that isn't there: %v, %v", files, err)
	}
	c, err = config.Load("", environ())
	if files := c.Files(); err != nil || len(files) > 0 || c.File() != "" {
		t.Errorf("without a file: %q, %v, %v", c.File(), files, err)
	}
}

func TestProblem(t *testing.T) {
	const text = "[poll]\nrise = 1\n\n[notify.ops]\ntype = 'log'\n[server.tokens]\n'B O B' = 'b'\n"
	refused := errors.New("no such color\n\x1b[31mred")
	for key, want := range map[string]string{
		"notify.ops":            "foreman.toml:4: notify.ops: no such color [31mred",
		"notify.ops.type":       "foreman.toml:5: notify.ops.type: no such color [31mred",
		"notify.ops.settings":   "foreman.toml:4: notify.ops.settings: no such color [31mred",
		`server.tokens."B O B"`: `foreman.toml:7: server.tokens."B O B": no such color [31mred`,
		"target.url":            "foreman.toml: target.url: no such color [31mred",
	} {
		if got := parse(t, "foreman.toml", text).Problem(key, refused).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if got, want := config.Default(environ()).Problem("target.url", refused).Error(), "target.url: no such color [31mred"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
