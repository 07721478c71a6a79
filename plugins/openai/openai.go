// Package openai looks at a server that speaks OpenAI's API: llama.cpp's
// server, vLLM, LM Studio and others. All of them list their models under
// /v1/models, and that decides whether a target is well. What else they tell
// differs, so it is asked of each server and may be missing:
//
//	                  version    what is resident
//	llama.cpp         /props     its one model, unless /props says that it sleeps
//	llama.cpp router  /props     status in /v1/models
//	vLLM              /version   all that /v1/models lists, with a max_model_len
//	LM Studio         none       state in /api/v0/models
//	others            none       their only model; of several nobody knows, so none is listed
package openai

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

const (
	modelsPath = "/v1/models"
	maxAnswer  = 64 << 20 // bytes, once inflated
)

// A Backend is a [core.Backend] over one server. Use [New].
type Backend struct {
	target *target.Target // written by Configure, which comes before all else

	props   extra // llama.cpp's
	version extra // vLLM's
	studio  extra // LM Studio's

	created firstCreated
}

var _ core.Backend = (*Backend)(nil)

// New returns a Backend to configure.
func New() *Backend {
	return &Backend{
		props:   extra{path: "/props", key: "default_generation_settings"},
		version: extra{path: "/version", key: "version"},
		studio:  extra{path: "/api/v0/models", key: "data"},
	}
}

// Configure takes a base URL, with or without the /v1 that other clients want
// at its end, and a bearer token. There are no settings of its own. Its errors
// don't repeat the URL or the token, either of which may hold a secret.
func (b *Backend) Configure(_ context.Context, s core.Settings) (core.Upstream, error) {
	if s.URL == "" {
		return core.Upstream{}, errors.New(`url: missing; say where the server is, as in url = "http://127.0.0.1:8080"`)
	}
	server, err := target.New(s, "OpenAI's API")
	if err != nil {
		return core.Upstream{}, err
	}
	if u, err := url.Parse(server.URL); err == nil && strings.HasSuffix(u.Path, "/v1") { // and not a host of that name
		server.URL = strings.TrimRight(strings.TrimSuffix(server.URL, "/v1"), "/")
	}
	b.target = server
	return core.Upstream{URL: server.URL, Header: server.Header(), V1Only: true}, nil
}

// Probe asks for the version, and where none is stated for the models.
func (b *Backend) Probe(ctx context.Context) (string, error) {
	props, ok, err := b.props.ask(ctx, b.target)
	if err != nil {
		return "", err
	}
	if ok {
		return text(props, "build_info"), nil
	}
	answer, ok, err := b.version.ask(ctx, b.target)
	if err != nil {
		return "", err
	}
	if ok {
		return text(answer, "version"), nil
	}
	_, err = b.list(ctx)
	return "", err
}

// Models lists what is installed, in the order of the answer.
func (b *Backend) Models(ctx context.Context, known string) (core.ModelList, error) {
	entries, err := b.list(ctx)
	if err != nil {
		return core.ModelList{}, err
	}
	b.created.settle(entries)
	var digest target.Digest
	for _, e := range entries {
		digest.Add(e.content())
	}
	list := core.ModelList{Fingerprint: digest.String()}
	if list.Fingerprint == known {
		list.Unchanged = true
		return list, nil
	}
	list.Models = make([]core.Model, len(entries))
	for i, e := range entries {
		list.Models[i] = e.model()
	}
	return list, nil
}

// Running lists what is resident, as far as the server tells.
func (b *Backend) Running(ctx context.Context) ([]core.Resident, error) {
	entries, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	loaded, err := b.loaded(ctx, entries)
	if err != nil {
		return nil, err
	}
	residents := make([]core.Resident, len(loaded))
	for i, e := range loaded {
		residents[i] = e.resident()
	}
	return residents, nil
}

func (b *Backend) list(ctx context.Context) ([]entry, error) {
	body, err := b.target.Get(ctx, modelsPath, maxAnswer, nil)
	if err != nil {
		return nil, err
	}
	entries, fault := decodeList(body)
	if fault != nil {
		return nil, b.target.Fault(modelsPath, fault)
	}
	return entries, nil
}
