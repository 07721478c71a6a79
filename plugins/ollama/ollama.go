// Package ollama looks at an Ollama server over HTTP. It alone asks Ollama for
// its lists, and knows the three routes and the JSON that they answer with.
//
// One look at the list of models:
//
//	get ──► body ──► quickFingerprint ──► known, and good before: unchanged
//	                      │
//	                      └─ anything else ──► decodeTags, strict ──► models
package ollama

import (
	"context"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

const (
	maxList    = 64 << 20 // bytes of a list, once inflated
	maxVersion = 64 << 10
)

// A Backend is a [core.Backend] over one Ollama server. Use [New].
type Backend struct {
	target *target.Target // written by Configure, which comes before all else

	// good is the fingerprint of the last list that was decoded without a
	// fault: a body with that fingerprint needs no second decoding.
	good atomic.Pointer[string]

	// spare holds a *[]byte that no model aliases, for the next list's body.
	spare sync.Pool
}

var _ core.Backend = (*Backend)(nil)

// New returns a Backend to configure.
func New() *Backend { return new(Backend) }

// Probe asks for the version.
func (b *Backend) Probe(ctx context.Context) (string, error) {
	const path = "/api/version"
	body, err := b.target.Get(ctx, path, maxVersion, nil)
	if err != nil {
		return "", err
	}
	version, fault := decodeVersion(body)
	if fault != nil {
		return "", b.target.Fault(path, fault)
	}
	return version, nil
}

// Models lists what is installed, in the order of the answer.
func (b *Backend) Models(ctx context.Context, known string) (core.ModelList, error) {
	const path = "/api/tags"
	spare, _ := b.spare.Get().(*[]byte)
	if spare == nil {
		spare = new([]byte)
	}
	body, err := b.target.Get(ctx, path, maxList, *spare)
	if err != nil {
		return core.ModelList{}, err
	}
	fingerprint, quick := quickFingerprint(body)
	good := b.good.Load()
	if !quick || fingerprint != known || good == nil || *good != known {
		models, fault := decodeTags(body)
		if fault != nil {
			return core.ModelList{}, b.target.Fault(path, fault)
		}
		if !quick || !utf8.Valid(body) { // decoding mended the entries
			fingerprint = fingerprintOf(models)
		}
		b.good.Store(&fingerprint)
		if fingerprint != known {
			return core.ModelList{Fingerprint: fingerprint, Models: models}, nil
		}
	}
	*spare = body
	b.spare.Put(spare)
	return core.ModelList{Fingerprint: fingerprint, Unchanged: true}, nil
}

// Running lists what is resident.
func (b *Backend) Running(ctx context.Context) ([]core.Resident, error) {
	const path = "/api/ps"
	body, err := b.target.Get(ctx, path, maxList, nil)
	if err != nil {
		return nil, err
	}
	residents, fault := decodePS(body)
	if fault != nil {
		return nil, b.target.Fault(path, fault)
	}
	return residents, nil
}
