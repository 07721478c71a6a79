package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

// TestScriptsUnderTLS is TestScripts with foreman.crt and foreman.key in each
// script's directory, and the certificate of who has signed them in
// authority.crt.
func TestScriptsUnderTLS(t *testing.T) {
	authority := testkit.NewAuthority(t)
	cert, key := authority.Issue(t, "foreman.lan")
	testscript.Run(t, testscript.Params{
		Dir: "../../testdata/script/tls",
		Setup: func(script *testscript.Env) error {
			for name, contents := range map[string][]byte{"foreman.crt": cert, "foreman.key": key, "authority.crt": authority.PEM} {
				if err := os.WriteFile(filepath.Join(script.WorkDir, name), contents, 0o600); err != nil {
					return err
				}
			}
			return setUp(script)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sim": simCommand, "serve": serveCommand, "daemon": daemonCommand,
		},
	})
}
