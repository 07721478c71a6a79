package daemon

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core/config"
)

// A file whose own address needs no lock doesn't take the lock from the
// address that foreman listens on until its next start.
func TestAReloadOpensNoDoor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "foreman.toml")
	load := func(server string) config.Config {
		t.Helper()
		if err := os.WriteFile(file, []byte("[server]\nstate_dir = \"state\"\n"+server), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file, func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	const token = "tokens = { alice = \"secret-of-alice\" }\n"
	for _, tc := range []struct {
		name, started, next string
		good                bool
	}{
		{"open, and the token goes", "listen = \"0.0.0.0:1\"\n" + token, "", false},
		{"open, and stays locked", "listen = \"0.0.0.0:1\"\n" + token, token, true},
		{"open, and is said to be meant so", "listen = \"0.0.0.0:1\"\n" + token, "insecure = true\n", true},
		{"open, and client_ca goes", "listen = \"0.0.0.0:1\"\ntls = { cert = \"c\", key = \"k\", client_ca = \"a\" }\n", "", true},
		{"client_ca comes, which waits for a restart", "listen = \"0.0.0.0:1\"\n" + token, "tls = { cert = \"c\", key = \"k\", client_ca = \"a\" }\n", false},
		{"loopback", token, "", true},
	} {
		d := &Daemon{started: load(tc.started)}
		if err := d.staysLocked(load(tc.next)); (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestAnOpenDoorIsSaidOutLoud(t *testing.T) {
	token := map[string]config.Secret{"alice": {}}
	for name, tc := range map[string]struct {
		server config.Server
		warns  bool
	}{
		"open":              {config.Server{Listen: "0.0.0.0:0", Insecure: true}, true},
		"open, with tokens": {config.Server{Listen: "0.0.0.0:0", Insecure: true, Tokens: token}, false},
		"loopback":          {config.Server{Listen: "127.0.0.1:0", Insecure: true}, false},
	} {
		var log bytes.Buffer
		listener, _, err := listen(tc.server, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		if warned := strings.Contains(log.String(), "level=WARN"); warned != tc.warns {
			t.Errorf("%s: %s", name, &log)
		}
	}
}
