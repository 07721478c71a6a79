package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// tickEvery is how often a condition is looked at.
const tickEvery = 10 * time.Millisecond

// Await looks until check returns nil, and returns how long that took. It
// ends the test if that takes too long; the error that came last says why.
func Await(t testing.TB, within time.Duration, what string, check func() error) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := await(ctx, nil, check); err != nil {
		t.Fatalf("not within %v: %s: %v", within, what, err)
	}
	return time.Since(began)
}

var errEnded = errors.New("it ended")

// await returns once check returns nil, or an error as soon as ended is
// closed or ctx is done.
func await(ctx context.Context, ended <-chan struct{}, check func() error) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("%w; before that: %w", errEnded, err)
		case <-ctx.Done():
			return err
		}
	}
}

// An Answer is one to a GET, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Get asks for url, with headers given as name and value, and waits at most
// the time that one request of a test may take. It keeps no connection, so it
// leaves no goroutine to goleak.
func Get(ctx context.Context, url string, headers ...string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, body}, err
}

const getTimeout = 5 * time.Second

// getOK is nil once url answers 200.
func getOK(ctx context.Context, url string) error {
	answer, err := Get(ctx, url)
	if err == nil && answer.Status != http.StatusOK {
		err = fmt.Errorf("status %d", answer.Status)
	}
	return err
}
