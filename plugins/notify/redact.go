package notify

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const redacted = "[redacted]"

// A redactor takes out of somebody else's errors what they quote of a
// service's URL, whole or in parts: which part is a token differs by service.
type redactor struct {
	urls  *regexp.Regexp
	parts *strings.Replacer
}

func newRedactor(raw string, u *url.URL) *redactor {
	password, _ := u.User.Password()
	parts := append(strings.Split(u.Path, "/"), u.User.Username(), password, u.Fragment)
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	if host := u.Hostname(); host != u.Scheme && !isHost(host) { // telegram://token@telegram
		parts = append(parts, host)
	}
	for _, part := range slices.Clone(parts) { // an ID and a token in one
		for _, piece := range strings.FieldsFunc(part, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if len(piece) >= 8 {
				parts = append(parts, piece)
			}
		}
	}
	parts = append(parts, raw)
	var pairs []string
	// The longest first: of several that match in one place the first counts.
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
	for _, part := range parts {
		if !secretive(part) {
			continue
		}
		quoted := strconv.Quote(part)
		for _, form := range []string{part, url.QueryEscape(part), url.PathEscape(part), quoted[1 : len(quoted)-1]} {
			pairs = append(pairs, form, redacted)
		}
	}
	return &redactor{
		urls:  regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`),
		parts: strings.NewReplacer(pairs...),
	}
}

// isHost reports whether a URL's host names a machine: in some services' URLs
// a token stands there.
func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || s == "localhost" || strings.Contains(s, ".")
}

// secretive reports whether s may be a secret: three letters would only spoil
// the sentence around them, and so would the usual values of switches.
func secretive(s string) bool {
	switch strings.ToLower(s) {
	case "http", "https", "true", "false", "none", "auto", "plain", "default":
		return false
	}
	return len(s) >= 4
}

// clean is err's text on one line, without the URL's parts; of other URLs in
// it scheme and host are left.
func (r *redactor) clean(err error) string {
	text := r.urls.ReplaceAllStringFunc(err.Error(), func(s string) string {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return redacted
		}
		return u.Scheme + "://" + u.Host
	})
	return oneLine(r.parts.Replace(text))
}
