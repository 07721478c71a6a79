package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// diskRetry is how long a disk that failed is left alone.
	diskRetry = 10 * time.Second
	// spareRecords is how many lines the journal may hold beyond two for
	// each event that waits.
	spareRecords = 100

	tmpSuffix = ".tmp"
)

// A record is a line of the journal.
type record struct {
	Add   []entry         `json:"add,omitempty"`
	Done  []uint64        `json:"done,omitempty"`
	State json.RawMessage `json:"state,omitempty"` // a state; the last one counts
}

// A state is what a queue knows beside what waits.
type state struct {
	Fold    fold `json:"fold"`
	Dropped int  `json:"dropped"` // events that no message has told of yet
}

// A journal is the file of a queue. Each of its methods is called by the one
// goroutine that owns it.
type journal struct {
	path    string
	file    *os.File // nil until it is written as a whole, and after an error
	records int      // lines in it
	state   []byte   // the last that was written
	err     error    // why it isn't written
	failed  time.Time
}

// fileOf is where the queue of that notifier is kept.
func fileOf(dir, name string) string {
	return filepath.Join(dir, "outbox-"+url.PathEscape(name)+".jsonl")
}

// read returns what an earlier foreman left, and how many lines of it make no
// sense.
func (j *journal) read() (queue []entry, last state, senseless int, err error) {
	data, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, last, 0, err
	}
	for line := range bytes.Lines(data) {
		var r record
		var s state
		err := json.Unmarshal(line, &r)
		if err == nil && r.State != nil {
			err = json.Unmarshal(r.State, &s)
		}
		if err != nil {
			senseless++
			continue
		}
		if r.State != nil {
			last = s
		}
		queue = append(queue, r.Add...)
		queue = slices.DeleteFunc(queue, func(e entry) bool { return slices.Contains(r.Done, e.N) })
	}
	return queue, last, senseless, nil
}

// save writes what is new, or all of it if that is due. It returns why it
// can't.
func (j *journal) save(news record, queue []entry, now state) error {
	encoded, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if !bytes.Equal(encoded, j.state) {
		news.State = encoded
	}
	nothing := len(news.Add) == 0 && len(news.Done) == 0 && news.State == nil
	if nothing && j.err == nil || j.err != nil && time.Now().Before(j.retryAt()) {
		return j.err
	}
	if j.file != nil && j.records <= 2*len(queue)+spareRecords {
		j.err = j.append(news)
	} else {
		j.err = j.rewrite(record{Add: queue, State: encoded})
	}
	if j.err != nil {
		j.close() // the last line may be torn: write it as a whole the next time
		j.failed = time.Now()
		return j.err
	}
	j.state = encoded
	return nil
}

// retryAt is when a disk that failed is tried again, or zero.
func (j *journal) retryAt() time.Time {
	if j.err == nil {
		return time.Time{}
	}
	return j.failed.Add(diskRetry)
}

func (j *journal) append(r record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	j.records++
	return err
}

// rewrite replaces the file by a record of all that counts, and stays with
// the new one.
func (j *journal) rewrite(all record) (err error) {
	j.close()
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return err
	}
	j.file, err = os.OpenFile(j.path+tmpSuffix, os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	j.records = 0
	if err := j.append(all); err != nil {
		return errors.Join(err, os.Remove(j.path+tmpSuffix))
	}
	return os.Rename(j.path+tmpSuffix, j.path)
}

func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close() // what was written is with the kernel
		j.file = nil
	}
}
