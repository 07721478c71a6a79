package api

import (
	"net/http"
	"strings"
)

// origins are those of the web pages that may ask, as browsers write them.
// Pages of all others get no word of CORS, and so from their browser nothing.
type origins map[string]bool

// exposed are the headers of an answer that a page may read besides those
// that it always may.
var exposed = strings.Join([]string{"ETag", "Location", "Retry-After", HeaderAge, HeaderDegraded, HeaderJobState}, ", ")

// preflightSeconds is how long a browser may remember an answer of preflight.
const preflightSeconds = "600"

// mark lets the page that r comes from read the answer, an error too.
func (o origins) mark(header http.Header, r *http.Request) {
	if len(o) == 0 {
		return
	}
	header.Add("Vary", "Origin") // also for those who send none: a cache may stand between
	if origin := r.Header.Get("Origin"); o[origin] {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", exposed)
	}
}

// asked reports whether r is a listed page's browser asking, before the
// request itself, whether that may be sent. It never shows a token.
func (o origins) asked(r *http.Request) bool {
	return r.Method == http.MethodOptions && o[r.Header.Get("Origin")] &&
		r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers what [origins.asked] recognises: every header that the
// page wants to send may be sent, since the libraries send many of their own.
func preflight(w http.ResponseWriter, r *http.Request, methods string) {
	header := w.Header()
	header.Add("Vary", "Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", methods)
	if names := r.Header.Get("Access-Control-Request-Headers"); names != "" {
		header.Set("Access-Control-Allow-Headers", names)
	}
	header.Set("Access-Control-Max-Age", preflightSeconds)
	w.WriteHeader(http.StatusNoContent)
}
