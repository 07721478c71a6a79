package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed-af7fee88/foreman/core"
)

// A memory is the file that holds the outage that was told. There is none
// while all is well.
type memory struct{ path string }

func newMemory(dir string) memory { return memory{filepath.Join(dir, "outage.json")} }

// load returns nil if there is no outage, or with an error.
func (m memory) load() (*core.Outage, error) {
	data, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var outage core.Outage
	if err := json.Unmarshal(data, &outage); err != nil {
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	if outage.Since.IsZero() {
		return nil, fmt.Errorf("%s: it doesn't say since when", m.path)
	}
	return &outage, nil
}

// save replaces the file, so that a reader finds the old or the new one whole.
// What is only begun survives the end of foreman, if not that of the machine:
// nobody waits for the disk then.
func (m memory) save(outage *core.Outage) error {
	if outage == nil {
		if err := os.Remove(m.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	data, err := json.Marshal(outage)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	tmp := m.path + ".tmp"
	if err := writeFile(tmp, append(data, '\n'), outage.Told); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Rename(tmp, m.path)
}

func writeFile(path string, data []byte, sync bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if sync {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}
