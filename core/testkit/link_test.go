//go:build unix

package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// overLink returns a link to a server that says text.
func overLink(t *testing.T, text string) *Link {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return NewLink(t, server.URL)
}

func awaitOpen(t *testing.T, l *Link, want int64) {
	t.Helper()
	Await(t, 5*time.Second, "connections", func() error {
		if open := l.Open(); open != want {
			return fmt.Errorf("%d are open, want %d", open, want)
		}
		return nil
	})
}

func TestLinkHoldsAndDelivers(t *testing.T) {
	l := overLink(t, "hello")
	l.Hold()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Get(ctx, l.URL); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("through a black hole: %v, want a timeout", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := Get(t.Context(), l.URL)
		answered <- err
	}()
	awaitOpen(t, l, 2)
	l.Heal()
	if err := <-answered; err != nil {
		t.Errorf("once it is healed: %v", err)
	}
	awaitOpen(t, l, 0)
}

func TestLinkCuts(t *testing.T) {
	text := strings.Repeat("a", 3*linkBuffer)
	l := overLink(t, text)
	for _, after := range []int64{0, 50, 2 * linkBuffer} {
		before := l.Cuts()
		l.Cut(after)
		answer, err := Get(t.Context(), l.URL)
		if err == nil || int64(len(answer.Body)) > after || l.Cuts() != before+1 {
			t.Errorf("cut after %d: %d bytes of the body, %v, %d cuts", after, len(answer.Body), err, l.Cuts()-before)
		}
	}
	l.Heal()
	if answer, err := Get(t.Context(), l.URL); err != nil || string(answer.Body) != text {
		t.Errorf("healed: %d bytes, %v", len(answer.Body), err)
	}
}

func TestLinkDrips(t *testing.T) {
	l := overLink(t, strings.Repeat("a", 1000))
	l.Drip(100, 2*time.Millisecond)
	began := time.Now()
	answer, err := Get(t.Context(), l.URL)
	if took := time.Since(began); err != nil || len(answer.Body) != 1000 || took < 20*time.Millisecond {
		t.Errorf("%d bytes after %v, %v", len(answer.Body), took, err)
	}
}
