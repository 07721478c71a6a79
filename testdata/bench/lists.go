package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
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
	d, err := startDaemon(ctx, b, models)
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
		c, err := interleaved(ctx, listRounds, perRequest(d.url()+path), perRequest(bare.url+path))
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
func perRequest(address string) func() (time.Duration, error) {
	var conns []*conn
	return func() (time.Duration, error) {
		for len(conns) < clients {
			c, err := dial(address)
			if err != nil {
				return 0, err
			}
			conns = append(conns, c)
		}
		began := time.Now()
		var all errgroup.Group
		var counts [clients]int
		for i, c := range conns {
			all.Go(func() error {
				for time.Since(began) < listRound {
					if err := c.get(); err != nil {
						return err
					}
					counts[i]++
				}
				return nil
			})
		}
		err := all.Wait()
		total := 0
		for _, n := range counts {
			total += n
		}
		return time.Since(began) / time.Duration(total), err
	}
}

// A conn is a client that does next to nothing, so that its own cost doesn't
// hide the server's.
type conn struct {
	net.Conn
	in      *bufio.Reader
	request []byte
}

func dial(address string) (*conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.Path, u.Host)
	return &conn{c, bufio.NewReaderSize(c, 64<<10), request}, nil
}

// get sends the request and reads a 200 to its end.
func (c *conn) get() error {
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %q", line)
	}
	length := -1
	for len(line) > 2 {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("no Content-Length")
	}
	_, err = c.in.Discard(length)
	return err
}
