package api

import (
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// blobPath is the only thing that may stand after /api/blobs/.
var blobPath = regexp.MustCompile(`^` + blobPrefix + `sha256[:-][0-9a-f]{64}$`)

// manage passes a route that changes what is installed to the target, if the
// owner allows that.
func (s *service) manage(w http.ResponseWriter, r *http.Request) error {
	if !s.opts.Management {
		return s.denied(w, r)
	}
	if strings.HasPrefix(r.URL.Path, blobPrefix) {
		if !blobPath.MatchString(r.URL.Path) {
			return errorf(http.StatusNotFound, "%s names no blob: it takes sha256: and 64 hexadecimal digits", r.URL.Path)
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // an upload may take hours
		return s.pass(w, r)
	}
	// net/http cuts an answer that begins while the request's body is still
	// being read (golang/go#40747).
	payload, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	defer payload.drop()
	r.Body, r.ContentLength = payload.open(), int64(len(payload.data))
	return s.pass(w, r)
}

// pass gives r to the target as it is, but for its header.
func (s *service) pass(w http.ResponseWriter, r *http.Request) error {
	upstream, err := s.deps.Upstream()
	if err != nil {
		return err
	}
	base, err := url.Parse(upstream.URL)
	if err != nil {
		return err
	}
	defer s.inventory.Nudge()
	proxy := httputil.ReverseProxy{
		Transport: s.target.management,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(base) // the host header too: Ollama refuses a foreign one
			p.Out.Header = http.Header{"Content-Type": p.In.Header["Content-Type"]}
			maps.Copy(p.Out.Header, upstream.Header)
		},
		ModifyResponse: func(resp *http.Response) error {
			maps.DeleteFunc(resp.Header, func(name string, _ []string) bool { // it is foreman who answers
				return name == "Server" || strings.HasPrefix(name, "Access-Control-")
			})
			if resp.ContentLength < 0 {
				resp.Header.Set("X-Accel-Buffering", "no") // a proxy in front must not hold the progress back
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { s.fail(w, r, unreachable(err)) },
		ErrorLog:     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r)
	return nil
}

// denied says what to do instead. The stock client pulls whatever it can't
// show, and its user sees only this of a misspelt name.
func (s *service) denied(w http.ResponseWriter, r *http.Request) error {
	const sentence = "foreman doesn't manage models here: run this on the target itself, or set server.management = true in foreman's config"
	if r.URL.Path == "/api/pull" {
		if missing := s.missingIn(w, r); missing != "" {
			return errorf(http.StatusForbidden, "%s (%s)", missing, sentence)
		}
	}
	return errorf(http.StatusForbidden, sentence)
}

// missingIn is a sentence about the model that the body names, or "" if it is
// installed, or who knows.
func (s *service) missingIn(w http.ResponseWriter, r *http.Request) string {
	payload, err := s.readBody(w, r)
	if err != nil {
		return ""
	}
	defer payload.drop()
	snapshot := s.inventory.Snapshot()
	name, err := modelOf(payload.data, "model", "name")
	if _, ok := installed(snapshot, core.Meanings(name)); err != nil || ok || snapshot.Inventory == nil {
		return ""
	}
	return NotFound(name, snapshot.Inventory.Near(name))
}
