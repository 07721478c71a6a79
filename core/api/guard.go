package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard decides who gets in.
type guard struct {
	hosts   map[string]bool // lower case
	origins origins
	tokens  [][sha256.Size]byte
	cross   *http.CrossOriginProtection
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
	for _, t := range tokens {
		g.tokens = append(g.tokens, sha256.Sum256([]byte(t)))
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
	if r.URL.EscapedPath() != "/livez" && !g.origins.asked(r) && !g.knowsToken(r.Header) {
		return errorf(http.StatusUnauthorized, "a token is needed: send Authorization: Bearer TOKEN or x-api-key: TOKEN")
	}
	return nil
}

// knowsHost lets addresses pass: only a name can be made to point here by
// somebody else's DNS.
func (g guard) knowsHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return g.hosts[strings.ToLower(strings.TrimSuffix(host, "."))]
}

// knowsToken compares digests, so that time tells nothing of a token or its
// length. Either header will do: some clients fill the other with a dummy.
func (g guard) knowsToken(header http.Header) bool {
	if len(g.tokens) == 0 {
		return true
	}
	known := g.isToken(header.Get("X-Api-Key"))
	if scheme, rest, ok := strings.Cut(header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		known = g.isToken(strings.TrimSpace(rest)) || known
	}
	return known
}

func (g guard) isToken(given string) bool {
	sum, known := sha256.Sum256([]byte(given)), 0
	for _, t := range g.tokens {
		known |= subtle.ConstantTimeCompare(sum[:], t[:])
	}
	return given != "" && known == 1
}
