package main

import (
	"testing"

	"github.com/seed-af7fee88/foreman/core/config"
)

func TestConfigKnowsTheBuiltInBackends(t *testing.T) {
	for name := range builtIn {
		if !config.BuiltIn(name) {
			t.Errorf("the config would look for an executable of backend %q", name)
		}
	}
	if config.BuiltIn("llamacpp") {
		t.Error("the config takes anything for built in")
	}
}
