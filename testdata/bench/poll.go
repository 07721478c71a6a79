package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"syscall"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
	"github.com/seed-af7fee88/foreman/plugins/ollama"
)

const (
	unchangedRounds = 100
	changedRounds   = 40
	cpuCalls        = 100
)

// startPlugin starts the real plugin process, as foreman does.
func startPlugin(ctx context.Context, foreman, target string) (*host.BackendProcess, error) {
	spec := host.Spec{Kind: plugin.KindBackend, Name: "ollama", Path: foreman, Args: []string{"plugin", "backend", "ollama"}}
	return host.StartBackend(ctx, spec, core.Settings{URL: target}, slog.New(slog.DiscardHandler))
}

// measureUnchanged measures polls of a list that stays but for its order: what
// the plugin does for one, and what the host has of it besides.
func measureUnchanged(ctx context.Context, b *bench) ([]figure, error) {
	target := b.targetOf(many)
	inProcess := ollama.New()
	if _, err := inProcess.Configure(ctx, core.Settings{URL: target}); err != nil {
		return nil, err
	}
	process, err := startPlugin(ctx, b.foreman, target)
	if err != nil {
		return nil, err
	}
	defer process.Stop()
	direct, err := unchangedPoll(ctx, inProcess)
	if err != nil {
		return nil, err
	}
	throughWire, err := unchangedPoll(ctx, process)
	if err != nil {
		return nil, err
	}

	plugin, err := interleaved(ctx, unchangedRounds, timed(direct), timed(readAndHash(ctx, target+"/api/tags")))
	if err != nil {
		return nil, err
	}
	wire, err := interleaved(ctx, unchangedRounds, timed(throughWire), timed(direct))
	if err != nil {
		return nil, err
	}
	cpu, err := cpuOf(throughWire)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("unchanged poll of %d models: ", many)
	return []figure{
		timeAtMost(what+"the plugin, against reading and hashing", plugin, 2),
		atMost(what+"the host's processor time", cpu, time.Millisecond),
		unjudged(what+"until the host knows", wire.ours),
		unjudged(what+"the same, less the plugin's part", wire.ours-wire.theirs),
	}, nil
}

// unchangedPoll asks backend for its list once, and then returns a poll that
// finds it unchanged.
func unchangedPoll(ctx context.Context, backend modelLister) (func() error, error) {
	first, err := backend.Models(ctx, "")
	if err != nil {
		return nil, err
	}
	return func() error {
		list, err := backend.Models(ctx, first.Fingerprint)
		if err == nil && !list.Unchanged {
			err = errors.New("a list in another order counts as changed")
		}
		return err
	}, nil
}

// modelLister is what a backend is measured by, in process or not.
type modelLister interface {
	Models(ctx context.Context, known string) (core.ModelList, error)
}

// readAndHash is the least that has to be done to know a body.
func readAndHash(ctx context.Context, url string) func() error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // as the backend does
	return func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(sha256.New(), resp.Body)
		return err
	}
}

// cpuOf is what one call of f costs this process.
func cpuOf(f func() error) (time.Duration, error) {
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return 0, err
	}
	for range cpuCalls {
		if err := f(); err != nil {
			return 0, err
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return 0, err
	}
	spent := after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano()
	return time.Duration(spent / cpuCalls), nil
}

// measureChanged compares a poll that brings a new list, until the inventory
// is made of it, with decoding the body once.
func measureChanged(ctx context.Context, b *bench) ([]figure, error) {
	target := b.targetOf(many)
	body, _, err := fetch(ctx, target+"/api/tags")
	if err != nil {
		return nil, err
	}
	process, err := startPlugin(ctx, b.foreman, target)
	if err != nil {
		return nil, err
	}
	defer process.Stop()
	poll := func() error {
		list, err := process.Models(ctx, "another list")
		if err != nil {
			return err
		}
		if inventory := core.NewInventory(list.Models, list.Fingerprint); len(inventory.Models) != many {
			return fmt.Errorf("%d models of %d", len(inventory.Models), many)
		}
		return nil
	}
	c, err := interleaved(ctx, changedRounds, timedAlone(poll), timedAlone(func() error { return decode(body) }))
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("changed poll of %d models, against decoding the body once", many)
	return []figure{timeAtMost(what, c, 3)}, nil
}

// decode decodes the fields of a core.Model as anybody would.
func decode(body []byte) error {
	var list struct {
		Models []struct {
			Name       string    `json:"name"`
			Digest     string    `json:"digest"`
			Size       int64     `json:"size"`
			ModifiedAt time.Time `json:"modified_at"`
			Details    struct {
				Family        string `json:"family"`
				ParameterSize string `json:"parameter_size"`
				Quantization  string `json:"quantization_level"`
			} `json:"details"`
		} `json:"models"`
	}
	return json.Unmarshal(body, &list)
}
