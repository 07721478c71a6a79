package inventory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// saveEvery is how old the time in the file may grow while nothing changes.
const saveEvery = 10 * time.Minute

// A State keeps the last good inventory of each target in a file of its own,
// so that foreman can answer for a target that sleeps while foreman restarts.
type State struct {
	dir string
	log *slog.Logger
}

// NewState returns the state that is kept in dir.
func NewState(dir string, log *slog.Logger) *State { return &State{dir: dir, log: log} }

// path is the file for the snapshot's target.
func (s *State) path(of *core.Snapshot) string {
	sum := sha256.Sum256([]byte(of.Backend + " " + of.URL))
	return filepath.Join(s.dir, "inventory-"+hex.EncodeToString(sum[:4])+".json")
}

// stateFile is the file's shape.
type stateFile struct {
	SchemaVersion int          `json:"schema_version"`
	SavedAt       time.Time    `json:"as_of"`
	TargetVersion string       `json:"target_version"`
	Models        []core.Model `json:"models"`
}

const (
	stateSchema = 1
	tmpSuffix   = ".tmp-"

	// maxClockSkew is how far ahead the time in the file may be of a clock
	// that was set back.
	maxClockSkew = 24 * time.Hour
)

// Load adds to first, which names a target, what its file holds. A missing
// file adds nothing; one that can't be used is set aside, with a warning.
func (s *State) Load(first core.Snapshot) core.Snapshot {
	path := s.path(&first)
	unfinished, _ := filepath.Glob(path + tmpSuffix + "*")
	for _, tmp := range unfinished { // of a foreman that was killed
		_ = os.Remove(tmp)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return first
	}
	var file stateFile
	if err == nil {
		file, err = decodeState(data)
	}
	if err != nil {
		aside := path + ".corrupt"
		s.log.Warn("the saved inventory can't be used and is set aside",
			"file", path, "as", aside, "error", errors.Join(err, os.Rename(path, aside)))
		return first
	}
	first.Inventory = core.NewInventory(file.Models, "")
	first.InventoryAt = file.SavedAt
	first.Version = file.TargetVersion
	return first
}

func decodeState(data []byte) (stateFile, error) {
	var file stateFile
	if err := json.Unmarshal(data, &file); err != nil {
		return file, err
	}
	if file.SchemaVersion != stateSchema {
		return file, fmt.Errorf("schema_version is %d, not %d", file.SchemaVersion, stateSchema)
	}
	if file.Models == nil || file.SavedAt.IsZero() || file.SavedAt.After(time.Now().Add(maxClockSkew)) {
		return file, errors.New("it states no models, or not when they were seen")
	}
	for _, m := range file.Models {
		if len(m.Raw) == 0 || m.Raw[0] != '{' {
			return file, fmt.Errorf("model %q has no object", m.Name)
		}
	}
	return file, nil
}

// Run saves the inventory whenever it changes, now and then while it doesn't,
// and once more when ctx ends. A full disk costs a warning.
func (s *State) Run(ctx context.Context, watch func() (*core.Snapshot, <-chan struct{})) error {
	saved, superseded := watch()
	snapshot := saved
	var failed string
	for done := false; ; {
		if !snapshot.SameTarget(saved) {
			saved = &core.Snapshot{Backend: snapshot.Backend, URL: snapshot.URL}
		}
		due := snapshot.InventoryAt.Sub(saved.InventoryAt)
		if snapshot.Inventory != saved.Inventory || due >= saveEvery || done && due > 0 {
			saved = snapshot
			if problem := s.save(snapshot); problem != failed {
				if failed = problem; failed != "" {
					s.log.Warn("the inventory can't be saved", "error", failed)
				}
			}
		}
		if done {
			return nil
		}
		select {
		case <-superseded:
		case <-ctx.Done():
			done = true
		}
		snapshot, superseded = watch()
	}
}

// save replaces the file, so that a reader finds the old or the new one whole.
// It returns what went wrong, or "".
func (s *State) save(snapshot *core.Snapshot) string {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false) // a model's JSON stays as the target wrote it
	err := encoder.Encode(stateFile{
		SchemaVersion: stateSchema, SavedAt: snapshot.InventoryAt,
		TargetVersion: snapshot.Version, Models: snapshot.Inventory.Models,
	})
	if err == nil {
		err = writeFile(s.path(snapshot), data.Bytes())
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func writeFile(path string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+tmpSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
