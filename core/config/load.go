package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fileName is what the file is called where nobody names it.
const fileName = "foreman.toml"

// maxFile bounds what is read of a file that isn't a configuration at all.
const maxFile = 1 << 20

// Find returns the path of the file to load: flag, $FOREMAN_CONFIG,
// ./foreman.toml, or foreman/foreman.toml in the XDG config home, else "",
// which means the defaults. A file that flag or $FOREMAN_CONFIG names has to
// be there; the error is an [*Error].
func Find(flag string, getenv func(string) string) (string, error) {
	for _, named := range []struct{ by, path string }{
		{"--config or $FOREMAN_CONFIG", flag}, // the flag takes the variable, too
		{"$FOREMAN_CONFIG", getenv("FOREMAN_CONFIG")},
	} {
		if named.path == "" {
			continue
		}
		if !exists(named.path) {
			return "", &Error{File: named.path, Problem: "there is no such file, but " + named.by + " names it"}
		}
		return named.path, nil
	}
	for _, path := range []string{fileName, xdg(getenv, "XDG_CONFIG_HOME", ".config", "foreman/"+fileName)} {
		if path != "" && exists(path) {
			return path, nil
		}
	}
	return "", nil
}

// exists is true also of what can't be looked at: loading it says why.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

// Load reads the file at path and parses it; of "" it is [Parse] of nothing.
// Its error is an [*Error], and its Config then as of Parse.
func Load(path string, getenv func(string) string) (Config, error) {
	if path == "" {
		return Parse("", nil, getenv)
	}
	data, err := readFile(path)
	if err != nil {
		c := Default(getenv)
		c.read = &reading{files: []File{fileAt(path, nil)}}
		return c, &Error{File: path, Problem: err.Error()}
	}
	return Parse(path, data, getenv)
}

// Parse is the configuration that data, the contents of the file called name,
// describes. Relative paths in it start at the file's directory. Of several
// things that are wrong the first in the file is its error, an [*Error]; its
// Config then is what can be read all the same, with defaults for the rest: it
// isn't fit for use, but tells where a daemon may be found.
func Parse(name string, data []byte, getenv func(string) string) (Config, error) {
	read := &reading{name: name, text: NewSecret(string(data))}
	if name != "" {
		read.files = []File{fileAt(name, data)}
	}
	doc, err := newDocument(name, data)
	if err != nil {
		c := Default(getenv)
		c.read = read
		return c, err
	}
	r := reader{doc: doc, getenv: getenv, dir: filepath.Dir(name), read: read}
	c := r.config()
	// What depends on several keys can be judged once each of them is right.
	if len(doc.problems) == 0 {
		r.checkTogether(c)
	}
	c.read = read
	return c, doc.first()
}

// readFile reads a small file; what it has read isn't nil. Its errors don't
// repeat the path.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cannotRead(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, cannotRead(err)
	}
	if len(data) > maxFile {
		return nil, errors.New("is over 1 MiB; is it the right file?")
	}
	return data, nil
}

func cannotRead(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("can't be read: %w", err)
}
