package target

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/seed-af7fee88/foreman/core"
)

// maxDetail is how many bytes of a fault's detail are worth a line.
const maxDetail = 400

// Faultf is a fault without a word on what was asked of whom, which
// [Target.Fault] adds.
func Faultf(reason core.Reason, format string, args ...any) *core.Fault {
	return &core.Fault{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func tooLarge(limit int) *core.Fault {
	return Faultf(core.ReasonTooLarge, "the answer is larger than %d bytes", limit)
}

// Fault completes f for the caller: it says what was asked of whom, on one
// printable line that doesn't hold the token.
func (t *Target) Fault(path string, f *core.Fault) *core.Fault {
	detail := f.Detail
	if t.token != "" { // a server may quote the request's header
		detail = strings.ReplaceAll(detail, t.token, "[token]")
	}
	return &core.Fault{Reason: f.Reason, Detail: core.OneLine("GET "+t.URL+path+": "+detail, maxDetail)}
}

// connectionFault says why there was no answer.
func connectionFault(ctx context.Context, err error) *core.Fault {
	var dns *net.DNSError
	var errno syscall.Errno
	errors.As(err, &errno)
	switch {
	case errors.As(err, &dns):
		return Faultf(core.ReasonDNS, "lookup %s: %s", dns.Name, dns.Err)
	case isTimeout(ctx, err):
		return Faultf(core.ReasonTimeout, "no answer in time")
	case errno == syscall.ECONNREFUSED:
		return Faultf(core.ReasonRefused, "connection refused")
	case errno == syscall.EHOSTUNREACH, errno == syscall.ENETUNREACH, errno == syscall.EHOSTDOWN,
		errno == syscall.ENETDOWN, errno == syscall.EADDRNOTAVAIL: // no IPv6 here
		return Faultf(core.ReasonNoRoute, "%v", errno)
	case strings.Contains(err.Error(), "malformed "):
		return Faultf(core.ReasonWrongTarget, "the answer is not HTTP")
	case strings.Contains(err.Error(), "tls: "): // what all errors of crypto/tls have in common
		return Faultf(core.ReasonTLS, "%v", err)
	case errno == syscall.ECONNRESET, errno == syscall.EPIPE:
		return Faultf(core.ReasonReset, "connection reset before an answer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Faultf(core.ReasonReset, "connection closed before an answer")
	default:
		return Faultf(core.ReasonUnknown, "%v", err)
	}
}

// isTimeout counts a caller's cancel too: that is how a deadline of the host
// may reach its plugin.
func isTimeout(ctx context.Context, err error) bool {
	var timeout interface{ Timeout() bool }
	return ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()
}

// answerFault judges status and headers.
func (t *Target) answerFault(resp *http.Response) *core.Fault {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	code := resp.StatusCode
	switch {
	case code == http.StatusOK && mediaType == "text/html":
		return Faultf(core.ReasonWrongTarget, "a web page, not %s", t.api)
	case code == http.StatusOK:
		return nil
	case code/100 == 3:
		if to, err := resp.Location(); err == nil {
			return Faultf(core.ReasonRedirect, "status %d: redirects to %s, which is not followed", code, to.Host)
		}
		return Faultf(core.ReasonRedirect, "status %d: redirects nowhere", code)
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return Faultf(core.ReasonWrongTarget, "status %d: not %s", code, t.api)
	}
	text := http.StatusText(code)
	if mediaType != "text/html" {
		if said := errorText(resp.Body); said != "" {
			text = said
		}
	}
	return Faultf(core.StatusReason(code), "status %d: %s", code, text)
}

// errorText is what an error's body says: its [ErrorField], or plain text.
// What can't be read of it is left out.
func errorText(r io.Reader) string {
	body, _ := io.ReadAll(io.LimitReader(r, 4<<10))
	if !json.Valid(body) {
		return string(body)
	}
	return ErrorField(body)
}

// bodyFault says why an answer that began well wasn't read to its end.
func bodyFault(ctx context.Context, err error, n int) *core.Fault {
	var corrupt flate.CorruptInputError
	switch {
	case isTimeout(ctx, err):
		return Faultf(core.ReasonTimeout, "no whole answer in time, only %d bytes", n)
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return Faultf(core.ReasonNotJSON, "the answer's compression is broken: %v", err)
	default:
		return Faultf(core.ReasonTruncated, "the answer broke off after %d bytes", n)
	}
}
