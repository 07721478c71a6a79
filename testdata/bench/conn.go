package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// A request is what a conn asks for again and again.
type request struct {
	method, url, body string
	status            int // that it must be answered with
}

func get(url string) request { return request{http.MethodGet, url, "", http.StatusOK} }

// A conn is a client that does next to nothing, so that its own cost doesn't
// hide the server's.
type conn struct {
	net.Conn
	in     *bufio.Reader
	asked  []byte
	status []byte // the start of the status line
}

func dial(r request) (*conn, error) {
	u, err := url.Parse(r.url)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	asked := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, u.RequestURI(), u.Host)
	if r.body != "" {
		asked = fmt.Appendf(asked, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.body))
	}
	asked = append(append(asked, "\r\n"...), r.body...)
	return &conn{c, bufio.NewReaderSize(c, 16<<10), asked, fmt.Appendf(nil, "HTTP/1.1 %d ", r.status)}, nil
}

// dialAll opens n connections that ask for r.
func dialAll(n int, r request) (conns, error) {
	all := make(conns, 0, n)
	for range n {
		c, err := dial(r)
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

type conns []*conn

func (all conns) close() {
	for _, c := range all {
		_ = c.Close()
	}
}

// each calls f for all connections at once.
func (all conns) each(f func(i int, c *conn) error) error {
	var group errgroup.Group
	for i, c := range all {
		group.Go(func() error { return f(i, c) })
	}
	return group.Wait()
}

// ask sends the request and reads the head of its answer. The length is -1
// for a chunked body.
func (c *conn) ask() (length int, err error) {
	if _, err := c.Write(c.asked); err != nil {
		return 0, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, c.status) {
		return 0, fmt.Errorf("answered %q", line)
	}
	known := false
	for len(line) > 2 {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			known = true
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
		if bytes.Equal(line, []byte("Transfer-Encoding: chunked\r\n")) {
			known, length = true, -1
		}
	}
	if !known {
		return 0, fmt.Errorf("neither Content-Length nor chunks")
	}
	return length, nil
}

// whole asks and reads the answer to its end.
func (c *conn) whole() error {
	length, err := c.ask()
	if err != nil {
		return err
	}
	if length < 0 {
		return fmt.Errorf("no Content-Length")
	}
	_, err = c.in.Discard(length)
	return err
}

// stream asks, and calls piece with each chunk of the answer as it comes.
func (c *conn) stream(piece func([]byte)) error {
	length, err := c.ask()
	if err != nil {
		return err
	}
	if length >= 0 {
		return fmt.Errorf("answered at once, not in chunks")
	}
	for length != 0 {
		if length, err = c.chunk(piece); err != nil {
			return err
		}
	}
	return nil
}

// chunk reads one chunk; the last is empty.
func (c *conn) chunk(piece func([]byte)) (length int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 16)
	if err != nil {
		return 0, err
	}
	length = int(size)
	data, err := c.in.Peek(length + len("\r\n"))
	if err != nil {
		return 0, err
	}
	if length > 0 {
		piece(data[:length])
	}
	_, err = c.in.Discard(len(data))
	return length, err
}
