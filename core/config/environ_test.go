package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-af7fee88/foreman/core/config"
)

// The values of Ollama's own test of envconfig.Host, and a few more. Only
// where Ollama would listen everywhere is what a client has to use another.
func TestOllamaHost(t *testing.T) {
	for value, want := range map[string]string{
		"":                           "http://127.0.0.1:11434",
		"1.2.3.4":                    "http://1.2.3.4:11434",
		":1234":                      "http://127.0.0.1:1234",
		"1.2.3.4:1234":               "http://1.2.3.4:1234",
		"example.com":                "http://example.com:11434",
		"example.com:1234":           "http://example.com:1234",
		"example.com:":               "http://example.com:11434",
		"1.2.3.4:66000":              "http://1.2.3.4:11434",
		"1.2.3.4:-1":                 "http://1.2.3.4:11434",
		"[::1]":                      "http://[::1]:11434",
		"::1":                        "http://[::1]:11434",
		"::ffff:1.2.3.4":             "http://1.2.3.4:11434",
		"[::1]:1337":                 "http://[::1]:1337",
		" 1.2.3.4 ":                  "http://1.2.3.4:11434",
		`"1.2.3.4"`:                  "http://1.2.3.4:11434",
		` " 1.2.3.4 " `:              "http://1.2.3.4:11434",
		"'1.2.3.4'":                  "http://1.2.3.4:11434",
		"http://1.2.3.4":             "http://1.2.3.4:80",
		"http://1.2.3.4:4321":        "http://1.2.3.4:4321",
		"https://1.2.3.4":            "https://1.2.3.4:443",
		"https://1.2.3.4:4321":       "https://1.2.3.4:4321",
		"https://example.com/ollama": "https://example.com:443/ollama",
		"http://1.2.3.4/":            "http://1.2.3.4:80",
		"ollama.com":                 "https://ollama.com:443",
		"0.0.0.0":                    "http://127.0.0.1:11434",
		"0.0.0.0:8080":               "http://127.0.0.1:8080",
		"http://0.0.0.0":             "http://127.0.0.1:80",
		"::":                         "http://[::1]:11434",
		"[::]":                       "http://[::1]:11434",
		"[::]:8080":                  "http://[::1]:8080",
	} {
		c, err := config.Load("", environ("OLLAMA_HOST", value))
		if err != nil || c.Target.URL != want {
			t.Errorf("OLLAMA_HOST=%q: %q, %v; want %q", value, c.Target.URL, err, want)
		}
	}
}

func TestDirectories(t *testing.T) {
	c := config.Default(environ("XDG_STATE_HOME", "/s", "XDG_DATA_HOME", "/d"))
	if c.Server.StateDir != "/s/foreman" || c.Plugins.Dir != "/d/foreman/plugins" {
		t.Errorf("with XDG directories: %q, %q", c.Server.StateDir, c.Plugins.Dir)
	}
	c = config.Default(environ("XDG_STATE_HOME", "relative", "XDG_DATA_HOME", "relative"))
	if c.Server.StateDir != "/home/alice/.local/state/foreman" || c.Plugins.Dir != "/home/alice/.local/share/foreman/plugins" {
		t.Errorf("with relative XDG directories: %q, %q", c.Server.StateDir, c.Plugins.Dir)
	}
}

func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	home := t.TempDir()
	missing := filepath.Join(home, "missing.toml")
	write := func(path string) string {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check := func(flag, variable, want string, wantErr error) {
		t.Helper()
		got, err := config.Find(flag, environ("HOME", home, "FOREMAN_CONFIG", variable))
		if got != want || wantErr == nil && err != nil || wantErr != nil && (err == nil || err.Error() != wantErr.Error()) {
			t.Errorf("Find(%q) with FOREMAN_CONFIG=%q: %q, %v; want %q, %v", flag, variable, got, err, want, wantErr)
		}
	}

	check("", "", "", nil)
	inHome := write(filepath.Join(home, ".config/foreman/foreman.toml"))
	check("", "", inHome, nil)
	write("foreman.toml")
	check("", "", "foreman.toml", nil)
	named := write(filepath.Join(home, "named.toml"))
	check("", named, named, nil)
	check(inHome, named, inHome, nil)
	check(missing, named, "", &config.Error{File: missing, Problem: "there is no such file, but --config or $FOREMAN_CONFIG names it"})
	check("", missing, "", &config.Error{File: missing, Problem: "there is no such file, but $FOREMAN_CONFIG names it"})
}

func TestFindWithoutAHome(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, home := range []string{"", "/dev/null", "/nonexistent"} {
		if path, err := config.Find("", environ("HOME", home)); path != "" || err != nil {
			t.Errorf("with HOME=%q: %q, %v", home, path, err)
		}
	}
}
