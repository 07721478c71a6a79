package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/seed-af7fee88/foreman/core"
)

// The readers of values. Each takes what the TOML parser made of one value;
// its error is the problem for people, without the key.

// kind says what v is in the words of a user.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "a number"
	case float64:
		return "a number with a point"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	case []map[string]any, []any:
		return "a list"
	default:
		return "a date"
	}
}

func text(v any) (string, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return "", fmt.Errorf(`must be a string, in quotes, not %s`, kind(v))
	case s == "":
		return "", errors.New("is empty; remove the line for the default")
	}
	return s, nil
}

func flag(v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("must be true or false, without quotes, not %s", kind(v))
	}
	return b, nil
}

func oneOf(words ...string) func(any) (string, error) {
	return func(v any) (string, error) {
		s, err := text(v)
		if err != nil || slices.Contains(words, s) {
			return s, err
		}
		if near := core.Near(s, words); len(near) > 0 {
			return "", fmt.Errorf("%q isn't one of %s; did you mean %q?", s, strings.Join(words, ", "), near[0])
		}
		return "", fmt.Errorf("%q isn't one of %s", s, strings.Join(words, ", "))
	}
}

func count(least int) func(any) (int, error) {
	return func(v any) (int, error) {
		n, ok := v.(int64)
		switch {
		case !ok:
			return 0, fmt.Errorf("must be a whole number, not %s", kind(v))
		case n < int64(least) || n > math.MaxInt32:
			return 0, fmt.Errorf("%d is out of range; the least is %d", n, least)
		}
		return int(n), nil
	}
}

func number(least, most float64) func(any) (float64, error) {
	return func(v any) (float64, error) {
		f, ok := v.(float64)
		if n, whole := v.(int64); whole {
			f, ok = float64(n), true
		}
		switch {
		case !ok:
			return 0, fmt.Errorf("must be a number from %g to %g, not %s", least, most, kind(v))
		case !(least <= f && f <= most): // also of nan
			return 0, fmt.Errorf("%g is out of range; it goes from %g to %g", f, least, most)
		}
		return f, nil
	}
}

// duration takes strings only: a bare 5 would be nanoseconds to Go and
// seconds to people.
func duration(least time.Duration) func(any) (time.Duration, error) {
	return func(v any) (time.Duration, error) {
		s, ok := v.(string)
		if n, whole := v.(int64); whole {
			return 0, fmt.Errorf(`%d has no unit; write "%ds"`, n, n)
		}
		if !ok {
			return 0, fmt.Errorf(`must be a duration such as "5s" or "1m30s", not %s`, kind(v))
		}
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, fmt.Errorf(`%q isn't a duration; write it like "5s" or "1m30s"`, s)
		case d < least:
			return 0, fmt.Errorf("%q is too short; the least is %q", s, least)
		}
		return d, nil
	}
}

// mostSize is more than any machine reads into memory.
const mostSize Size = 1 << 40

// size takes "64MiB", "64MB" and plain bytes.
func size(least Size) func(any) (Size, error) {
	return func(v any) (Size, error) {
		n, ok := v.(int64)
		if s, isText := v.(string); isText {
			bytes, err := humanize.ParseBytes(s)
			if err != nil || bytes > math.MaxInt64 {
				return 0, fmt.Errorf(`%q isn't a size; write it like "64MiB"`, s)
			}
			n, ok = int64(bytes), true
		}
		switch {
		case !ok:
			return 0, fmt.Errorf(`must be a size such as "64MiB", not %s`, kind(v))
		case Size(n) < least:
			return 0, fmt.Errorf(`%d bytes is too small; the least is %s`, n, least)
		case Size(n) > mostSize:
			return 0, fmt.Errorf(`%d bytes is too large; the most is %s`, n, mostSize)
		}
		return Size(n), nil
	}
}

func listen(v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host != "" && !isHost(host) {
		return "", fmt.Errorf(`%q isn't an address; write it like "127.0.0.1:11435"`, s)
	}
	return s, nil
}

// listOf takes a list of strings, each of which one checks and may rewrite.
func listOf(example string, one func(string) (string, error)) func(any) ([]string, error) {
	return func(v any) ([]string, error) {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf(`must be a list such as [%q], not %s`, example, kind(v))
		}
		var read []string
		for _, entry := range list {
			s, err := text(entry)
			if err != nil {
				return nil, fmt.Errorf("an entry %w", err)
			}
			if s, err = one(s); err != nil {
				return nil, err
			}
			read = append(read, s)
		}
		return read, nil
	}
}

func allowedHost(s string) (string, error) {
	if !isHost(s) {
		return "", fmt.Errorf(`%q isn't a host name; write it like "foreman.lan", without scheme or port`, s)
	}
	return strings.ToLower(s), nil
}

// origin takes what a browser sends as Origin, byte for byte: it is compared
// as text.
func origin(s string) (string, error) {
	if s == "*" {
		return "", errors.New(`"*" would let in every web page; list those that you trust, like "https://app.example"`)
	}
	u, err := url.Parse(s)
	standard := map[string]string{"http": "80", "https": "443"}
	if err != nil || u.Scheme == "" || !isHost(strings.Trim(u.Hostname(), "[]")) || !isPort(u.Port()) || strings.HasSuffix(u.Host, ":") ||
		s != strings.ToLower(u.Scheme+"://"+u.Host) || u.Port() != "" && u.Port() == standard[u.Scheme] {
		return "", fmt.Errorf(`%q isn't an origin as browsers write it; write it like "https://app.example" or "http://localhost:3000"`, s)
	}
	return s, nil
}

func pattern(s string) (string, error) {
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return "", fmt.Errorf(`%q isn't a pattern; write it like "alias-*"`, s)
	}
	return s, nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)

// isHost reports whether s is a host name or an IP address without brackets.
func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || hostName.MatchString(s)
}

// baseURL doesn't repeat what it refuses: a URL may hold a password.
func baseURL(v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", !isPort(u.Port()):
		return "", errors.New(`isn't an http or https URL; write it like "http://127.0.0.1:11434"`)
	case u.User != nil:
		return "", errors.New("holds a user or a password; put the secret in target.token")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("holds a query or a fragment; remove it")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// isPort takes "" for the scheme's own.
func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil
}

// path reads a file's path; a relative one starts at the file that names it.
func (r *reader) path(v any) (string, error) {
	s, err := text(v)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(s, "~"):
		return "", fmt.Errorf("%q: a ~ stays as it is here; write the path in full", s)
	case filepath.IsAbs(s):
		return filepath.Clean(s), nil
	}
	return filepath.Join(r.dir, s), nil
}

func absolute(v any) (string, error) {
	s, err := text(v)
	if err == nil && !filepath.IsAbs(s) {
		err = fmt.Errorf("%q must be an absolute path", s)
	}
	return s, err
}

// IsPluginName reports whether a plugin, or a notifier, may be called s.
func IsPluginName(s string) bool { return pluginNames.MatchString(s) }

var pluginNames = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// pluginName reads the part of an executable's name after foreman-backend-.
func pluginName(v any) (string, error) {
	s, err := text(v)
	if err == nil && !IsPluginName(s) {
		err = fmt.Errorf("%q can't name a plugin; use a to z, 0 to 9, - and _", s)
	}
	return s, err
}
