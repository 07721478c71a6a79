package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	clients    = 4 // connections
	listRounds = 200
	listRound  = 10 * time.Millisecond
)

var listPaths = []string{"/api/tags", "/v1/models"}

// measureLists compares foreman's lists with a bare handler that writes the
// same bytes.
func measureLists(ctx context.Context, b *bench) ([]figure, error) {
	var figures []figure
	for _, models := range []int{3, 100, 1000, 10_000} {
		more, err := measureListsOf(ctx, b, models)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

func measureListsOf(ctx context.Context, b *bench, models int) ([]figure, error) {
	d, err := startDaemon(ctx, b, b.targetOf(models))
	if err != nil {
		return nil, err
	}
	defer d.stop()
	bare, err := startRole(ctx, "bare", d.url())
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	var figures []figure
	for _, path := range listPaths {
		c, err := interleaved(ctx, listRounds, perRequest(get(d.url()+path)), perRequest(get(bare.url+path)))
		if err != nil {
			return figures, err
		}
		what := fmt.Sprintf("%s, %d models, against a bare handler", path, models)
		figures = append(figures, rateAtLeast(what, c, 0.9))
	}
	return figures, nil
}

// serveBare serves what the foreman at the URL in args answers.
func serveBare(ctx context.Context, args []string) error {
	mux := http.NewServeMux()
	for _, path := range listPaths {
		body, header, err := fetch(ctx, args[0]+path)
		if err != nil {
			return err
		}
		contentType, length := header.Get("Content-Type"), strconv.Itoa(len(body))
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Content-Length", length)
			_, _ = w.Write(body)
		})
	}
	return serve(ctx, mux)
}

// perRequest measures for a short while how long it takes from one answer to
// the next, on connections that stay open until the next time.
func perRequest(r request) func() (time.Duration, error) {
	return repeated(clients, r, listRound, (*conn).whole)
}

// repeated measures for a while how long it takes from one end of ask to the
// next, on connections that stay open until the next time.
func repeated(connections int, r request, round time.Duration, ask func(*conn) error) func() (time.Duration, error) {
	var all conns
	return func() (_ time.Duration, err error) {
		if all == nil {
			if all, err = dialAll(connections, r); err != nil {
				return 0, err
			}
		}
		counts := make([]int, connections)
		began := time.Now()
		err = all.each(func(i int, c *conn) error {
			for ; time.Since(began) < round; counts[i]++ {
				if err := ask(c); err != nil {
					return err
				}
			}
			return nil
		})
		total := 0
		for _, n := range counts {
			total += n
		}
		return time.Since(began) / time.Duration(max(1, total)), err
	}
}
