//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/config"
)

// writePlugin runs the command, which shall do its work.
func writePlugin(t *testing.T, c pluginsNewCmd) (said string) {
	t.Helper()
	var out bytes.Buffer
	if err := c.Run(&env{stdout: &out}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A new plugin keeps the contract before its author has changed anything.
func TestNewPluginWorks(t *testing.T) {
	for _, kind := range []string{"notifier", "backend"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "new")
			said := writePlugin(t, pluginsNewCmd{Kind: kind, Name: "my-own_1", Dir: dir, Foreman: checkout(t)})
			if !strings.Contains(said, "cd "+dir+"\n") {
				t.Errorf("it says %q", said)
			}
			requireAsForeman(t, dir)
			if formatted := goCommand(t, dir, "fmt", "./..."); formatted != "" {
				t.Errorf("gofmt has to change %s", formatted)
			}
			goCommand(t, dir, "vet", "./...")
			tested := goCommand(t, dir, "test", "-v", "-timeout=1m", "./...")
			for _, suite := range []string{"in_process/refuses_bad_settings", "as_a_process/over_the_wire"} {
				if !strings.Contains(tested, "--- PASS: TestContract/"+suite+" (") {
					t.Errorf("its test doesn't run the conformance suite %s:\n%s", suite, tested)
				}
			}
			goCommand(t, dir, "build", "-o", "foreman-"+kind+"-my-own_1", ".")
		})
	}
}

// requireAsForeman is the author's `go mod tidy` without the network: of the
// modules that foreman requires all is in Go's cache.
func requireAsForeman(t *testing.T, dir string) {
	t.Helper()
	edit := []string{"mod", "edit"}
	for _, m := range readGoMod(t, checkout(t)).Require {
		edit = append(edit, "-require="+m.Path+"@"+m.Version)
	}
	goCommand(t, dir, edit...)
	copyFile(t, filepath.Join(checkout(t), "go.sum"), dir)
}

// A goMod is what a go.mod says.
type goMod struct {
	Module  module
	Require []module
	Replace []replace
}

type module struct{ Path, Version string }

type replace struct{ Old, New module }

func readGoMod(t *testing.T, dir string) (read goMod) {
	t.Helper()
	if err := json.Unmarshal([]byte(goCommand(t, dir, "mod", "edit", "-json")), &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// A new plugin requires the foreman that wrote it.
func TestNewPluginRequiresForeman(t *testing.T) {
	foreman := module{foremanModule, "v0.0.0"}
	elsewhere := filepath.Join(t.TempDir(), "a checkout")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(checkout(t), "go.mod"), elsewhere)
	for what, tt := range map[string]struct {
		stamped, checkout string
		want              goMod
	}{
		"a release":  {"v1.2.3", "", goMod{Require: []module{{foremanModule, "v1.2.3"}}}},
		"a checkout": {"v1.2.3-4-gabcdef", elsewhere, goMod{Require: []module{foreman}, Replace: []replace{{module{foremanModule, ""}, module{elsewhere, ""}}}}},
	} {
		t.Run(what, func(t *testing.T) {
			stamp(t, tt.stamped)
			dir := filepath.Join(t.TempDir(), "new")
			writePlugin(t, pluginsNewCmd{Kind: "notifier", Name: "lamp", Dir: dir, Foreman: tt.checkout})
			tt.want.Module.Path = "example.com/foreman-notifier-lamp"
			if diff := cmp.Diff(tt.want, readGoMod(t, dir)); diff != "" {
				t.Errorf("go.mod (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewPluginRefuses(t *testing.T) {
	checkout, taken := checkout(t), t.TempDir()
	writeFile(t, filepath.Join(taken, "main.go"), "package mine\n")
	for what, tt := range map[string]struct {
		command pluginsNewCmd
		says    string
	}{
		"a name that is none":         {pluginsNewCmd{Kind: "notifier", Name: "../Lamp", Foreman: checkout}, `"../Lamp" can't name a plugin`},
		"a built-in backend's name":   {pluginsNewCmd{Kind: "backend", Name: "ollama", Foreman: checkout}, "built-in"},
		"to overwrite a file":         {pluginsNewCmd{Kind: "backend", Name: "lamp", Dir: taken, Foreman: checkout}, "main.go is there already"},
		"a version nobody can fetch":  {pluginsNewCmd{Kind: "notifier", Name: "lamp"}, "--foreman DIR"},
		"a checkout of another thing": {pluginsNewCmd{Kind: "notifier", Name: "lamp", Foreman: taken}, "no checkout of foreman"},
	} {
		t.Run(what, func(t *testing.T) {
			stamp(t, "v1.2.3-4-gabcdef")
			t.Chdir(t.TempDir())
			err := tt.command.Run(&env{stdout: &bytes.Buffer{}})
			if usage := (usageError{}); !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want a usage error that says %s", err, tt.says)
			}
			if written := entries(t, "."); len(written) > 0 {
				t.Errorf("it wrote %q", written)
			}
		})
	}
	if left := entries(t, taken); len(left) != 1 {
		t.Errorf("it wrote beside a file that it refuses to overwrite: %q", left)
	}
}

// What can be written can be configured, and the other way round.
func TestNewPluginNamesAreTheConfigs(t *testing.T) {
	stamp(t, "v1.2.3")
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "0", "a-b_c9", "", "-a", "_a", "A", "a.b", "a/b", "a b", "ä", "a\n"} {
		key := mustJSON(t, name) // in TOML it is the same
		writeFile(t, "foreman.toml", fmt.Sprintf("[plugins.%s]\npath = \"/plugin\"\n[notify.desk]\nplugin = %s\n", key, key))
		_, configErr := config.Load("foreman.toml", func(string) string { return "/home" }) // or there is no place for its state
		err := (&pluginsNewCmd{Kind: "notifier", Name: name}).Run(&env{stdout: &bytes.Buffer{}})
		if (err == nil) != (configErr == nil) {
			t.Errorf("%q: plugins new says %v, the config %v", name, err, configErr)
		}
	}
}

// stamp has foreman be of that version until the test is over.
func stamp(t *testing.T, version string) {
	t.Helper()
	before := stamped
	stamped = version
	t.Cleanup(func() { stamped = before })
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
