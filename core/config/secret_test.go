package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/config"
)

func TestSecretsStayHidden(t *testing.T) {
	const hidden = "hunter2"
	secret := config.NewSecret(hidden)
	c := config.Default(environ())
	c.Target.Token = secret
	c.Server.Tokens = map[string]config.Secret{"alice": secret}
	text := []byte("[notify.ops]\ntype = 'webhook'\nurl = 'https://ops.example/" + hidden + "'")
	parsed, err := config.Parse("foreman.toml", text, environ())
	if err != nil {
		t.Fatal(err)
	}
	private := struct{ inside config.Secret }{secret}

	shown := map[string]string{"cmp": cmp.Diff(c, config.Config{}, whatItSays)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		for _, v := range []any{secret, &secret, c, &c, parsed, &parsed, private, []any{secret}} {
			shown[fmt.Sprintf("%s of %T", verb, v)] = fmt.Sprintf(verb, v)
		}
	}
	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("start", "secret", secret, "pointer", &secret, "config", c, "target", c.Target, "parsed", parsed)
	}
	shown["slog"] = out.String()
	encoded, err := json.Marshal([]config.Config{c, parsed})
	if err != nil {
		t.Fatal(err)
	}
	shown["JSON"] = string(encoded)
	out.Reset()
	if err := toml.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	shown["TOML"] = out.String()

	for how, text := range shown {
		if strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
	for _, how := range []string{"slog", "JSON", "TOML", "cmp"} {
		if !strings.Contains(shown[how], "[redacted]") {
			t.Errorf("%s doesn't show that there is a secret: %s", how, shown[how])
		}
	}
	if got := secret.Reveal(); got != hidden {
		t.Errorf("Reveal is %q", got)
	}
}

func TestUnsetSecret(t *testing.T) {
	var unset config.Secret
	if unset.Reveal() != "" || fmt.Sprint(unset) != "" || !unset.Equal(config.NewSecret("")) {
		t.Errorf("%v is set", unset)
	}
	if config.NewSecret("a").Equal(config.NewSecret("b")) || !config.NewSecret("a").Equal(config.NewSecret("a")) {
		t.Error("Equal doesn't compare the values")
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for contents, want := range map[string]string{
		"hunter2":         "",
		"hunter2\n":       "",
		"hunter2\r\n":     "",
		"":                `"%s" is empty or not set`,
		"\n":              `"%s" is empty or not set`,
		" hunter2\n":      `"%s" begins or ends with a space`,
		"hunter2\nmore\n": `"%s" holds a line break or another control character`,
	} {
		path := filepath.Join(dir, "token")
		if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(filepath.Join(dir, "foreman.toml"), []byte(`target.token.file = "token"`), environ())
		switch {
		case want == "" && (err != nil || c.Target.Token.Reveal() != "hunter2"):
			t.Errorf("of a file with %q: %q, %v", contents, c.Target.Token.Reveal(), err)
		case want != "" && (err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf(want, path))):
			t.Errorf("of a file with %q: %v", contents, err)
		}
	}
}
