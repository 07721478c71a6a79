package ollama

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
	"unicode"

	"github.com/seed-af7fee88/foreman/core"
)

// maxDetail is how many bytes of a fault's detail are worth a line.
const maxDetail = 400

func faultf(reason core.Reason, format string, args ...any) *core.Fault {
	return &core.Fault{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func tooLarge(limit int) *core.Fault {
	return faultf(core.ReasonTooLarge, "the answer is larger than %d bytes", limit)
}

// fault completes f for the caller: it says what was asked of whom, on one
// printable line that doesn't hold the token.
func (t *target) fault(path string, f *core.Fault) *core.Fault {
	detail := f.Detail
	if t.token != "" { // a server may quote the request's header
		detail = strings.ReplaceAll(detail, t.token, "[token]")
	}
	return &core.Fault{Reason: f.Reason, Detail: oneLine("GET " + t.url + path + ": " + detail)}
}

// oneLine is s with every run of what doesn't print as one space, and cut.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}

// connectionFault says why there was no answer.
func connectionFault(ctx context.Context, err error) *core.Fault {
	var dns *net.DNSError
	var errno syscall.Errno
	errors.As(err, &errno)
	switch {
	case errors.As(err, &dns):
		return faultf(core.ReasonDNS, "lookup %s: %s", dns.Name, dns.Err)
	case isTimeout(ctx, err):
		return faultf(core.ReasonTimeout, "no answer in time")
	case errno == syscall.ECONNREFUSED:
		return faultf(core.ReasonRefused, "connection refused")
	case errno == syscall.EHOSTUNREACH, errno == syscall.ENETUNREACH, errno == syscall.EHOSTDOWN,
		errno == syscall.ENETDOWN, errno == syscall.EADDRNOTAVAIL: // no IPv6 here
		return faultf(core.ReasonNoRoute, "%v", errno)
	case strings.Contains(err.Error(), "malformed "):
		return faultf(core.ReasonWrongTarget, "the answer is not HTTP")
	case strings.Contains(err.Error(), "tls: "): // what all errors of crypto/tls have in common
		return faultf(core.ReasonTLS, "%v", err)
	case errno == syscall.ECONNRESET, errno == syscall.EPIPE:
		return faultf(core.ReasonReset, "connection reset before an answer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return faultf(core.ReasonReset, "connection closed before an answer")
	default:
		return faultf(core.ReasonUnknown, "%v", err)
	}
}

// isTimeout counts a caller's cancel too: that is how a deadline of the host
// may reach its plugin.
func isTimeout(ctx context.Context, err error) bool {
	var timeout interface{ Timeout() bool }
	return ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()
}

// answerFault judges status and headers.
func answerFault(resp *http.Response) *core.Fault {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	code := resp.StatusCode
	switch {
	case code == http.StatusOK && mediaType == "text/html":
		return faultf(core.ReasonWrongTarget, "a web page, not Ollama's API")
	case code == http.StatusOK:
		return nil
	case code/100 == 3:
		if to, err := resp.Location(); err == nil {
			return faultf(core.ReasonRedirect, "status %d: redirects to %s, which is not followed", code, to.Host)
		}
		return faultf(core.ReasonRedirect, "status %d: redirects nowhere", code)
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return faultf(core.ReasonWrongTarget, "status %d: not Ollama's API", code)
	}
	text := http.StatusText(code)
	if mediaType != "text/html" {
		if said := errorText(resp.Body); said != "" {
			text = said
		}
	}
	return faultf(core.StatusReason(code), "status %d: %s", code, text)
}

// errorText is what an error's body says: Ollama's {"error":"…"}, or plain
// text. What can't be read of it is left out.
func errorText(r io.Reader) string {
	body, _ := io.ReadAll(io.LimitReader(r, 4<<10))
	if !json.Valid(body) {
		return string(body)
	}
	return errorField(body)
}

// bodyFault says why an answer that began well wasn't read to its end.
func bodyFault(ctx context.Context, err error, n int) *core.Fault {
	var corrupt flate.CorruptInputError
	switch {
	case isTimeout(ctx, err):
		return faultf(core.ReasonTimeout, "no whole answer in time, only %d bytes", n)
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return faultf(core.ReasonNotJSON, "the answer's compression is broken: %v", err)
	default:
		return faultf(core.ReasonTruncated, "the answer broke off after %d bytes", n)
	}
}
