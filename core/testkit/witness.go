//go:build unix

package testkit

import (
	"io"
	"os"
	"testing"
	"time"
)

// A Witness is a pipe that every process inherits from the one that was given
// it, and that reaches its end when the last of them is gone.
type Witness struct {
	reader, inherited *os.File
	gone              bool
}

// NewWitness returns a witness. A test that never awaits its end leaves it to
// the garbage collector.
func NewWitness(t testing.TB) *Witness {
	t.Helper()
	reader, inherited, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return &Witness{reader: reader, inherited: inherited}
}

// ExtraFiles hands the witness to a command that is yet to be started. It
// isn't file 3, which foreman gives its plugins for another use.
func (w *Witness) ExtraFiles() []*os.File { return []*os.File{nil, w.inherited} }

// AwaitGone returns nil once no process holds the witness any more, and an
// error if that takes too long. No command takes the witness after that.
func (w *Witness) AwaitGone(within time.Duration) error {
	if w.gone {
		return nil
	}
	w.inherited.Close() // again, if this isn't the first call
	if err := w.reader.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, w.reader); err != nil {
		return err
	}
	w.gone = true
	return w.reader.Close()
}
