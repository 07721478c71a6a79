package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-af7fee88/foreman/core"
)

// New takes a base URL, whose path is kept as a prefix, and a bearer token;
// a backend with settings of its own takes them out of s first. api is what
// the target is to speak, as in "Ollama's API". An error doesn't repeat the
// URL or the token, either of which may hold a secret.
func New(s core.Settings, api string) (*Target, error) {
	base, err := parseBase(s.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	header := make(http.Header)
	if s.Token != "" {
		if strings.ContainsFunc(s.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("token: want printable ASCII without spaces")
		}
		header.Set("Authorization", "Bearer "+s.Token)
	}
	if err := refuseExtra(s.Extra); err != nil {
		return nil, err
	}
	return &Target{URL: base, api: api, token: s.Token, header: header}, nil
}

func parseBase(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", errors.New("not a URL; want http://host:port")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("want http:// or https:// in front")
	case u.Hostname() == "":
		return "", errors.New("has no host")
	case u.User != nil:
		return "", errors.New("must not hold a user or password; use token")
	case strings.ContainsAny(s, "?#"):
		return "", errors.New("must not hold a query or fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", errors.New("the port must be within 1 and 65535")
		}
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func refuseExtra(extra json.RawMessage) error {
	if len(extra) == 0 {
		return nil
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(extra, &settings); err != nil {
		return errors.New("settings: want a table")
	}
	if keys := slices.Sorted(maps.Keys(settings)); len(keys) > 0 {
		return fmt.Errorf("unknown setting %q: this backend has none of its own", keys[0])
	}
	return nil
}
