package riverstore

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/seed-af7fee88/foreman/core"
)

// remedies say what to do about what SQLite reports of its file.
var remedies = map[int]string{
	sqlite3.SQLITE_FULL:     "the disk of %[1]s is full: make room on it",
	sqlite3.SQLITE_READONLY: "%[1]s can't be written: give foreman's user the right to, or another state_dir",
	sqlite3.SQLITE_CANTOPEN: "%[1]s can't be opened: see that its directory is there and is foreman's",
	sqlite3.SQLITE_IOERR:    "%[1]s can't be read or written: see whether its disk is full or failing",
	sqlite3.SQLITE_CORRUPT:  damaged,
	sqlite3.SQLITE_NOTADB:   damaged,
}

const damaged = "%[1]s is damaged: stop foreman, put a backup in its place or move it away with %[1]s-wal, and start again; jobs in a file that was moved away are lost"

// A trouble is an error of SQLite with what to do about it. It is a
// [core.ErrDiskFull] if SQLite found no room.
type trouble struct {
	remedy string
	full   bool
	err    error
}

func (t *trouble) Error() string { return fmt.Sprintf("%s (%v)", t.remedy, t.err) }
func (t *trouble) Unwrap() error { return t.err }

// Is implements [errors.Is].
func (t *trouble) Is(target error) bool { return t.full && target == core.ErrDiskFull }

// explain makes a trouble of an error that there is a remedy for.
func (s *Store) explain(err error) error {
	var reported *sqlite.Error
	var known *trouble
	if !errors.As(err, &reported) || errors.As(err, &known) {
		return err
	}
	code := reported.Code() & 0xff // the rest of an extended one tells details
	remedy, found := remedies[code]
	if !found {
		return err
	}
	return &trouble{fmt.Sprintf(remedy, s.path), code == sqlite3.SQLITE_FULL, err}
}
