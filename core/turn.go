package core

import "errors"

var (
	// ErrBusy is for a caller if as many as may wait for their turn already.
	ErrBusy = errors.New("as many callers wait as may")

	// ErrNotInstalled is for a model that the target doesn't have.
	ErrNotInstalled = errors.New("the model is not installed")
)

// A Turn is the right to have one request run on the target. The first call
// of Done or Failed gives it back.
type Turn interface {
	Done()
	Failed() // the target couldn't run the model: others go first

	// More reports whether other work for the model waited as the turn began.
	More() bool
}

// Work is a request to the target on behalf of a job.
type Work struct {
	Path string // of the target's route
	Body []byte // JSON
	Pin  bool   // the model is to stay in memory, unless Body says how long
}

// A Sink takes what the target answers to [Work]: Begin once, then the bytes
// as they come, of which it keeps none. An error of Write ends that.
type Sink interface {
	Begin(status int, contentType string)
	Write(chunk []byte) (int, error)
}
