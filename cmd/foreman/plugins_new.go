package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"text/template"

	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// foremanModule is what a plugin's go.mod requires.
const foremanModule = "github.com/seed-af7fee88/foreman"

type pluginsNewCmd struct {
	Kind    string `arg:"" enum:"notifier,backend" help:"Kind of plugin: notifier or backend."`
	Name    string `arg:"" help:"Its name in the config: a to z, 0 to 9, - and _."`
	Dir     string `help:"Directory to write to; else foreman-KIND-NAME." placeholder:"DIR" env:"FOREMAN_PLUGINS_NEW_DIR"`
	Foreman string `help:"Checkout of foreman to build it with, in place of a released one." placeholder:"DIR" env:"FOREMAN_PLUGINS_NEW_FOREMAN"`
}

// A skeleton is what the templates of a new plugin are filled with.
type skeleton struct {
	Name     string // in the config
	Binary   string // foreman-KIND-NAME
	Module   string // foreman's
	Version  string // foreman's
	Checkout string // absolute; "" takes Version from wherever Go does
}

//go:embed skeleton
var skeletons embed.FS

// Run writes a plugin that works and a test that says so. It overwrites
// nothing.
func (c *pluginsNewCmd) Run(e *env) error {
	if !config.IsPluginName(c.Name) {
		return usageError{fmt.Errorf("%q can't name a plugin; use a to z, 0 to 9, - and _", c.Name)}
	}
	if c.Kind == plugin.KindBackend && config.BuiltIn(c.Name) {
		return usageError{fmt.Errorf("%q is a built-in backend; choose another name", c.Name)}
	}
	s := skeleton{Name: c.Name, Binary: "foreman-" + c.Kind + "-" + c.Name, Module: foremanModule}
	var err error
	if s.Version, s.Checkout, err = c.foreman(); err != nil {
		return usageError{err}
	}
	files, err := s.files(c.Kind)
	if err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		dir = s.Binary
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	return e.lines([]string{
		"wrote " + dir + "; next:",
		"  cd " + dir,
		"  go mod tidy",
		"  go test ./...",
		"README.md says how foreman finds it.",
	})
}

// foreman is what the plugin is built with: a released version, or a checkout.
func (c *pluginsNewCmd) foreman() (version, checkout string, err error) {
	if c.Foreman == "" {
		if version = released(); version == "" {
			err = errors.New("this foreman isn't a released one, which Go could fetch; say --foreman DIR, a checkout of it")
		}
		return version, "", err
	}
	text, err := os.ReadFile(filepath.Join(c.Foreman, "go.mod"))
	if line, _, _ := strings.Cut(string(text), "\n"); err != nil || strings.TrimSpace(line) != "module "+foremanModule {
		return "", "", fmt.Errorf("--foreman: %s is no checkout of foreman", c.Foreman)
	}
	checkout, err = filepath.Abs(c.Foreman)
	return "v0.0.0", checkout, err
}

var releases = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

// released is this foreman's version if Go can fetch that: the one of a
// download, or a release's. Else it is "".
func released() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Sum != "" {
		return info.Main.Version
	}
	if releases.MatchString(stamped) {
		return stamped
	}
	return ""
}

// files are the skeleton's, by name.
func (s skeleton) files(kind string) (map[string][]byte, error) {
	templates, err := template.ParseFS(skeletons, "skeleton/*.tmpl", "skeleton/"+kind+"/*.tmpl")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, t := range templates.Templates() {
		var text bytes.Buffer
		if err := t.Execute(&text, s); err != nil {
			return nil, err
		}
		files[strings.TrimSuffix(path.Base(t.Name()), ".tmpl")] = text.Bytes()
	}
	return files, nil
}

// writeNew writes all files into dir, or none if one is there already.
func writeNew(dir string, files map[string][]byte) error {
	for name := range files {
		switch _, err := os.Lstat(filepath.Join(dir, name)); {
		case err == nil:
			return usageError{fmt.Errorf("%s is there already; choose another --dir", filepath.Join(dir, name))}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for name, text := range files {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if err != nil {
			return err
		}
		_, err = file.Write(text)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}
