// Package riverstore keeps jobs in River's tables and in tables of foreman's
// beside them. It is SQLite in one file of the state directory.
//
// A job is two rows that change in one transaction:
//
//	foreman_job              river_job
//	queued, due              available
//	queued, not due yet      retryable
//	loading, working         running
//	done                     completed
//	failed                   discarded
//	cancelled                cancelled
//
// foreman_job decides: it holds the job as a caller sees it, and what the
// turn order is looked up by, which River's indexes can't do: River fetches
// the next job of a queue, and foreman claims the one whose turn it is.
// River's row follows, through the executor of River's driver, and is what
// River's tools show. Payloads and results have tables of their own, as bytes:
// River's JSON would alter them.
//
// The statements are such as Postgres takes too, but for what [dialect] names.
package riverstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the database

	"github.com/seed-af7fee88/foreman/core/jobs"
)

const (
	fileName = "jobs.db"
	lockName = "jobs.lock"

	// readers is how many may read at a time. Each has a page cache of 2 MB.
	readers = 4
)

// A Store is a jobs.Store that one foreman has to itself.
type Store struct {
	write   *sql.DB // one connection, since SQLite has one writer
	read    *sql.DB // sees what is committed, waits for nobody, can't write
	pages   *sql.DB // the same for River's pages, whose slow questions hold up no other
	driver  riverdriver.Driver[*sql.Tx]
	dialect dialect
	path    string
	lock    *os.File
	queues  sync.Map // names of the River queues that are known to be there
}

var _ jobs.Store = (*Store)(nil)

// Open opens the store in dir, which it makes if need be, and brings its
// tables up to date. An error says what to do about it.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the job store: %w", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, fmt.Errorf("open the job store: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, lock: lock, dialect: sqliteDialect}
	if err := s.open(log); err != nil {
		return nil, errors.Join(fmt.Errorf("open the job store: %w", s.explain(err)), s.Close())
	}
	return s, nil
}

func (s *Store) open(log *slog.Logger) error {
	// SQLite would make it readable for everybody. Its other files follow it.
	file, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	s.write, err = sql.Open("sqlite", dsn(s.path, url.Values{
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "journal_size_limit(67108864)"},
	}))
	if err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	s.driver = riversqlite.New(s.write)
	if err := s.migrate(context.Background(), log); err != nil {
		return err
	}
	if s.read, err = s.reading(readers); err != nil {
		return err
	}
	s.pages, err = s.reading(1)
	return err
}

// reading is a pool of n connections that can't write. None is made before
// it is needed.
func (s *Store) reading(n int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(s.path, url.Values{"_pragma": {"busy_timeout(5000)", "query_only(1)"}}))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// dsn names a file to SQLite, whatever characters are in its path.
func dsn(path string, query url.Values) string {
	return (&url.URL{Scheme: "file", Path: path, OmitHost: true, RawQuery: query.Encode()}).String()
}

// lockFile holds a lock that ends with the process, however that ends.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the job store: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another foreman keeps its jobs in %s: stop it, or give this one a state_dir of its own", filepath.Dir(path))
	} else if err != nil {
		err = fmt.Errorf("lock the job store %s: %w", path, err)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// migrate brings River's tables and ours up to date.
func (s *Store) migrate(ctx context.Context, log *slog.Logger) error {
	migrator, err := rivermigrate.New(s.driver, &rivermigrate.Config{Logger: slog.New(onlyWarnings{log.Handler()})})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	return s.change(ctx, func(tx *txn) error { return tx.migrate(ctx, s.dialect) })
}

// onlyWarnings keeps River's reports of each of its steps out of the log.
type onlyWarnings struct{ slog.Handler }

func (h onlyWarnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// Changed is nil: nobody else has the file.
func (s *Store) Changed() <-chan struct{} { return nil }

// Close ends the use of the file. No other method may be under way.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.pages, s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
