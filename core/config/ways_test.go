package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vim saves file after a substitution.
func vim(backupcopy string) func(*testing.T, string) {
	return func(t *testing.T, file string) {
		run(t, "vim", "-Nu", "NONE", "-i", "NONE", "-es", "-c", "set backup backupcopy="+backupcopy, "-c", "%s/5/6/", "-c", "wq", file)
	}
}

// The ways in which programs change a file, and in which what leads to it
// changes. Each puts becomes where was is.
var changes = []struct {
	how    string
	lay    func(t *testing.T, file string) // how things are before; nil if that is one plain file
	change func(t *testing.T, file string)
}{
	{how: "written in place", change: func(t *testing.T, file string) { write(t, file, becomes) }},
	{how: "appended to", change: func(t *testing.T, file string) {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString("rise = 6\n")
		must(t, err)
		must(t, f.Close())
	}},
	{how: "renamed over", change: func(t *testing.T, file string) { replace(t, file, becomes) }},
	{how: "sed -i", change: func(t *testing.T, file string) { run(t, "sed", "-i.bak", "s/5/6/", file) }},
	{how: "vim, backupcopy=yes", change: vim("yes")},
	{how: "vim, backupcopy=no", change: vim("no")},
	{how: "vim, backupcopy=auto", change: vim("auto")},
	{how: "moved to a backup and written anew", change: func(t *testing.T, file string) {
		must(t, os.Rename(file, file+"~"))
		write(t, file, becomes)
		must(t, os.Remove(file+"~"))
	}},
	{how: "truncated and written slowly", change: func(t *testing.T, file string) {
		must(t, os.Truncate(file, 0))
		pause(silence)
		write(t, file, becomes)
	}},
	{how: "written in parts", change: func(t *testing.T, file string) {
		f, err := os.Create(file)
		must(t, err)
		for _, part := range strings.SplitAfter(becomes, "\n") {
			_, err := f.WriteString(part)
			must(t, err)
			pause(50 * time.Millisecond)
		}
		must(t, f.Close())
	}},
	{how: "deleted and created", change: func(t *testing.T, file string) {
		must(t, os.Remove(file))
		write(t, file, becomes)
	}},
	{how: "deleted and created later", change: func(t *testing.T, file string) {
		must(t, os.Remove(file))
		pause(silence)
		write(t, file, becomes)
	}},
	{how: "its directory deleted and made anew", change: func(t *testing.T, file string) {
		must(t, os.RemoveAll(filepath.Dir(file)))
		pause(silence)
		must(t, os.Mkdir(filepath.Dir(file), 0o700))
		pause(silence)
		write(t, file, becomes)
	}},
	{how: "its directory replaced", change: func(t *testing.T, file string) {
		dir := filepath.Dir(file)
		must(t, os.Mkdir(dir+".new", 0o700))
		write(t, filepath.Join(dir+".new", "foreman.toml"), becomes)
		must(t, os.Rename(dir, dir+".old"))
		must(t, os.Rename(dir+".new", dir))
	}},
	{
		how:    "written behind links",
		lay:    layLinks,
		change: func(t *testing.T, file string) { write(t, realFile(file), becomes) },
	},
	{
		how:    "renamed over behind links",
		lay:    layLinks,
		change: func(t *testing.T, file string) { replace(t, realFile(file), becomes) },
	},
	{
		how: "a link to another file",
		lay: layLinks,
		change: func(t *testing.T, file string) {
			write(t, realFile(file)+".2", becomes)
			link(t, "foreman.toml.2", filepath.Join(filepath.Dir(realFile(file)), "current.toml"))
		},
	},
	{
		how: "a link in the middle to another directory",
		lay: layLinks,
		change: func(t *testing.T, file string) {
			other := filepath.Join(filepath.Dir(filepath.Dir(file)), "other")
			must(t, os.Mkdir(other, 0o700))
			write(t, filepath.Join(other, "current.toml"), becomes)
			link(t, other, filepath.Join(filepath.Dir(filepath.Dir(file)), "share"))
		},
	},
	{
		how: "a link instead of the file",
		change: func(t *testing.T, file string) {
			write(t, file+".2", becomes)
			link(t, file+".2", file)
		},
	},
	{
		how: "the swap of Kubernetes",
		lay: func(t *testing.T, file string) {
			must(t, os.Remove(file))
			layVolume(t, filepath.Dir(file), "1", was)
			must(t, os.Symlink("..data/foreman.toml", file))
		},
		change: func(t *testing.T, file string) {
			layVolume(t, filepath.Dir(file), "2", becomes)
			must(t, os.RemoveAll(filepath.Join(filepath.Dir(file), "..1")))
		},
	},
}

// layLinks makes file a link to etc/../share/current.toml, where share links
// to the directory real and current.toml to foreman.toml in there.
func layLinks(t *testing.T, file string) {
	must(t, os.Mkdir(filepath.Dir(realFile(file)), 0o700))
	must(t, os.Rename(file, realFile(file)))
	must(t, os.Symlink("foreman.toml", filepath.Join(filepath.Dir(realFile(file)), "current.toml")))
	must(t, os.Symlink("real", filepath.Join(filepath.Dir(filepath.Dir(file)), "share")))
	must(t, os.Symlink("../share/current.toml", file))
}

func realFile(file string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(file)), "real", "foreman.toml")
}

// layVolume makes dir's ..data link to a new directory with the file.
func layVolume(t *testing.T, dir, version, text string) {
	must(t, os.Mkdir(filepath.Join(dir, ".."+version), 0o700))
	write(t, filepath.Join(dir, ".."+version, "foreman.toml"), text)
	link(t, ".."+version, filepath.Join(dir, "..data"))
}
