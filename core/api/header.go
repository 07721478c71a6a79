package api

import (
	"net/http"
	"strings"
)

// hopByHop are headers of one connection.
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true,
	"Proxy-Authorization": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// notForwarded are headers that speak to foreman, or that it has dealt with.
var notForwarded = map[string]bool{
	"Authorization": true, "X-Api-Key": true, "Cookie": true, // foreman's callers, not the target's
	"Origin": true, "Referer": true, // judged here; Ollama refuses foreign ones
	"Accept-Encoding": true, "Content-Encoding": true, "Content-Length": true, "Expect": true,
	// Some servers behind a base URL let these change what was admitted here.
	"X-Http-Method": true, "X-Http-Method-Override": true, "X-Method-Override": true,
	"X-Original-Url": true, "X-Rewrite-Url": true,
}

// forwarded is the part of a caller's header that the target may see.
func forwarded(header http.Header) http.Header {
	named := connectionNamed(header)
	kept := make(http.Header, len(header))
	for name, values := range header {
		if !hopByHop[name] && !notForwarded[name] && !named[name] && !strings.HasPrefix(name, "Sec-") {
			kept[name] = values
		}
	}
	if kept["User-Agent"] == nil {
		kept["User-Agent"] = []string{""} // net/http would state its own
	}
	if kept[idempotencyKey] == nil {
		kept[idempotencyKey] = []string{}
	}
	return kept
}

// idempotencyKey without a value isn't sent, but has net/http try again at
// once where the target had closed an idle connection.
const idempotencyKey = "Idempotency-Key"

// answered copies the part of the target's header that the caller may see.
func answered(to, header http.Header, streamed bool) {
	named, vary := connectionNamed(header), to["Vary"]
	for name, values := range header {
		if !hopByHop[name] && !named[name] && name != "Server" && !strings.HasPrefix(name, "Access-Control-") {
			to[name] = values
		}
	}
	if vary != nil {
		to["Vary"] = append(vary, header["Vary"]...)
	}
	if streamed {
		to["Transfer-Encoding"] = []string{"chunked"} // even if the answer turns out to be one short piece
		to["X-Accel-Buffering"] = []string{"no"}      // a proxy in front must not hold it back
	}
}

// connectionNamed are the headers that a Connection header lists.
func connectionNamed(header http.Header) map[string]bool {
	var named map[string]bool
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if named == nil {
				named = make(map[string]bool)
			}
			named[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return named
}
