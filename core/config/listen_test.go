package config_test

import (
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core/config"
)

func TestListen(t *testing.T) {
	const open = `is open to other machines; add a token under [server.tokens], ` +
		`or set client_ca under [server.tls], or allow it with insecure = true`
	tests := []struct {
		listen string
		open   bool
	}{
		{"127.0.0.1:11435", false},
		{"127.8.8.8:0", false},
		{"[::1]:80", false},
		{"[::ffff:127.0.0.1]:80", false},
		{"LocalHost:80", false},
		{":11435", true},
		{"0.0.0.0:11435", true},
		{"[::]:11435", true},
		{"192.168.1.5:11435", true},
		{"foreman.lan:11435", true},
		{"localhost.lan:11435", true},
	}
	for _, tt := range tests {
		text := "[server]\nlisten = '" + tt.listen + "'\n"
		_, err := config.Parse("foreman.toml", []byte(text), environ())
		if tt.open != (err != nil) || err != nil && !strings.Contains(err.Error(), open) {
			t.Errorf("listen = %q: %v", tt.listen, err)
		}
		for _, allowed := range []string{
			"insecure = true", "tokens.alice = 'alice-secret'", "tls = { cert = 'c', key = 'k', client_ca = 'a' }",
		} {
			if _, err := config.Parse("foreman.toml", []byte(text+allowed), environ()); err != nil {
				t.Errorf("listen = %q with %s: %v", tt.listen, allowed, err)
			}
		}
		for _, noLock := range []string{"insecure = false", "tokens = {}", "tls = { cert = 'c', key = 'k' }"} {
			if _, err := config.Parse("foreman.toml", []byte(text+noLock), environ()); tt.open != (err != nil) {
				t.Errorf("listen = %q with %s: %v", tt.listen, noLock, err)
			}
		}
	}
}

func TestSetListenObeysTheRulesOfTheFile(t *testing.T) {
	loopback := config.Default(func(string) string { return "" }).Server
	for address, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "localhost:0": "localhost:0",
		"0.0.0.0:1": loopback.Listen, ":1": loopback.Listen, "box.lan:1": loopback.Listen, "nonsense": loopback.Listen,
	} {
		server := loopback
		err := server.SetListen(address)
		if server.Listen != want || (err == nil) != (want == address) {
			t.Errorf("SetListen(%q): %q, %v", address, server.Listen, err)
		}
	}
	insecure, certified := loopback, loopback
	insecure.Insecure = true
	certified.TLS.ClientCA = "/callers.crt"
	for how, server := range map[string]config.Server{"insecure": insecure, "client_ca": certified} {
		if err := server.SetListen("0.0.0.0:1"); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}
