package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	callers   = 4                     // of lists, and as many of chats
	breath    = time.Millisecond      // between two rounds of lists
	chunksGap = 2 * time.Millisecond  // of a chat: reloads fall into it
	sulk      = 20 * time.Millisecond // after a failure: there may be many
)

// load is callers who ask a daemon all the time.
type load struct {
	client http.Client
	token  string
	cancel context.CancelFunc
	done   sync.WaitGroup

	asked, failed atomic.Int64
	first         atomic.Pointer[error] // what failed first
}

func startLoad(ctx context.Context, base, token string) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{token: token, cancel: cancel, client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * callers}}}
	for range callers {
		l.again(ctx, breath, func() error {
			for _, path := range []string{"/api/tags", "/v1/models", "/api/ps"} {
				if err := l.ask(get(base+path), nil); err != nil {
					return err
				}
			}
			return nil
		})
		l.again(ctx, 0, func() error { return l.ask(chatAt(base, chunksGap), wholeChat) })
	}
	return l
}

// again asks until ctx ends. What is under way then goes on to its end.
func (l *load) again(ctx context.Context, pause time.Duration, ask func() error) {
	l.done.Go(func() {
		for ctx.Err() == nil {
			wait := pause
			if err := ask(); err != nil {
				l.failed.Add(1)
				l.first.CompareAndSwap(nil, &err)
				wait = sulk
			}
			_ = sleep(ctx, wait)
		}
	})
}

// ask asks once, and has the whole answer checked.
func (l *load) ask(r request, check func(body []byte) error) error {
	l.asked.Add(1)
	req, err := http.NewRequest(r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %w", r.method, r.url, err)
	case resp.StatusCode != r.status:
		return fmt.Errorf("%s %s: %s: %s", r.method, r.url, resp.Status, body)
	case check != nil:
		return check(body)
	}
	return nil
}

func wholeChat(body []byte) error { return complete(strings.Count(string(body), "\n")) }

// stop ends the load, and its connections.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
	l.client.CloseIdleConnections()
}

// failures is how many requests failed; the error is the first one's.
func (l *load) failures() (int64, error) {
	if first := l.first.Load(); first != nil {
		return l.failed.Load(), *first
	}
	if l.asked.Load() == 0 {
		return 0, errors.New("nothing was asked")
	}
	return 0, nil
}
