package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// guard decides who gets in.
type guard struct {
	hosts   map[string]bool // lower case
	origins origins
	tokens  []token // by name
	cross   *http.CrossOriginProtection
}

type token struct {
	caller string
	sum    [sha256.Size]byte
}

// newGuard panics if one of the allowed origins isn't any.
func newGuard(hosts, allowedOrigins []string, tokens map[string]string) guard {
	g := guard{hosts: map[string]bool{"localhost": true}, origins: origins{}, cross: http.NewCrossOriginProtection()}
	for _, h := range hosts {
		g.hosts[strings.ToLower(h)] = true
	}
	for _, o := range allowedOrigins {
		g.origins[o] = true
		if err := g.cross.AddTrustedOrigin(o); err != nil {
			panic(err)
		}
	}
	for _, caller := range slices.Sorted(maps.Keys(tokens)) {
		g.tokens = append(g.tokens, token{caller, sha256.Sum256([]byte(tokens[caller]))})
	}
	return g
}

// check returns what keeps r out. /livez needs no token, and the question of
// a listed page's browser can't have one.
func (g guard) check(r *http.Request) error {
	if !g.knowsHost(r.Host) {
		return errorf(http.StatusForbidden, "host %q is not allowed; add it to server.allowed_hosts", r.Host)
	}
	if err := g.cross.Check(r); err != nil {
		return errorf(http.StatusForbidden, "a web page of another origin may not do this")
	}
	if r.URL.EscapedPath() != "/livez" && !g.origins.asked(r) {
		if _, known := g.caller(r.Header); !known && !g.opensUI(r) {
			return errorf(http.StatusUnauthorized, "a token is needed: send Authorization: Bearer TOKEN or x-api-key: TOKEN")
		}
	}
	return nil
}

// knowsHost lets addresses pass: only a name can be made to point here by
// somebody else's DNS.
func (g guard) knowsHost(hostport string) bool {
	host := hostport
	if h, port, err := net.SplitHostPort(hostport); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return false
		}
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return g.hosts[strings.ToLower(strings.TrimSuffix(host, "."))]
}

// caller returns the name of the token in header, "" if none is needed, and
// whether there is a right one. It compares digests, so that time tells
// nothing of a token or its length. Either header will do: some clients fill
// the other with a dummy.
func (g guard) caller(header http.Header) (name string, known bool) {
	if len(g.tokens) == 0 {
		return "", true
	}
	name, known = g.ownerOf(header.Get("X-Api-Key"))
	if scheme, rest, ok := strings.Cut(header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		if bearer, ok := g.ownerOf(strings.TrimSpace(rest)); ok {
			name, known = bearer, true
		}
	}
	return name, known
}

// opensUI reports whether r is for the pages about jobs and has a token as the
// password of HTTP's Basic scheme, whatever the user's name: a browser has no
// way to send one as the other routes want it. It sends this by itself from
// then on, so no other route takes it.
func (g guard) opensUI(r *http.Request) bool {
	_, password, ok := r.BasicAuth()
	if !ok || !isUI(r.URL.EscapedPath()) {
		return false
	}
	_, known := g.ownerOf(password)
	return known
}

func isUI(path string) bool {
	rest, ok := strings.CutPrefix(path, jobPrefix+jobsUI)
	return ok && (rest == "" || rest[0] == '/')
}

func (g guard) ownerOf(given string) (caller string, known bool) {
	sum := sha256.Sum256([]byte(given))
	for _, t := range g.tokens {
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 {
			caller, known = t.caller, given != ""
		}
	}
	return caller, known
}
