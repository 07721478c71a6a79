package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
)

// serveSplice copies bytes between its callers and the target in args, one
// connection for each, and knows nothing of HTTP.
func serveSplice(ctx context.Context, args []string) error {
	target, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		caller, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		upstream, err := net.Dial("tcp", target.Host)
		if err != nil {
			return err
		}
		go pipe(upstream, caller)
		go pipe(caller, upstream)
	}
}

// pipe copies until either side ends, by reading and writing: plain types keep
// io.Copy from leaving it to the kernel.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
	_ = to.Close()
	_ = from.Close()
}
