package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
)

func TestWhatAnErrorMeans(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		said string
	}{
		{nil, 0, ""},
		{errNo, 1, ""}, // it has been told
		{usageError{errors.New("no such flag")}, 2, "foreman: no such flag\n"},
		{fmt.Errorf("serve: %w", &config.Error{File: "f", Line: 3, Problem: "is wrong"}), 2, "foreman: serve: f:3: is wrong\n"},
		{cantTell(errors.New("nobody there")), 3, "foreman: can't tell: nobody there\n"},
		{errors.New("the disk is full"), 3, "foreman: the disk is full\n"},
		{fmt.Errorf("%w: 401", api.ErrNotAllowed), 4, fmt.Sprintf("foreman: %v: 401\n", api.ErrNotAllowed)},
		{fmt.Errorf("ask: %w", context.Canceled), 130, "foreman: interrupted\n"},
	} {
		var said bytes.Buffer
		e := &env{stderr: &said}
		if code := e.fail(tt.err); code != tt.code || said.String() != tt.said {
			t.Errorf("%v: exit %d, says %q, want %d, %q", tt.err, code, said.String(), tt.code, tt.said)
		}
	}
}
