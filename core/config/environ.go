package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// xdg is the path of rest under the XDG base directory that variable names,
// else under fallback in the home directory; "" where neither is set. The
// base directory specification has relative values ignored.
func xdg(getenv func(string) string, variable, fallback, rest string) string {
	if base := getenv(variable); filepath.IsAbs(base) {
		return filepath.Join(base, rest)
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, fallback, rest)
	}
	return ""
}

// ollamaHost is the base URL that $OLLAMA_HOST means by the rule of Ollama's
// envconfig.Host, but that an address to listen on everywhere becomes one to
// connect to. It may still be no http URL.
func ollamaHost(value string) string {
	value = strings.TrimSpace(strings.Trim(strings.TrimSpace(value), `"'`))
	port := "11434"
	scheme, hostport, ok := strings.Cut(value, "://")
	switch {
	case !ok && value == "ollama.com":
		scheme, hostport = "https", "ollama.com:443"
	case !ok:
		scheme, hostport = "http", value
	case scheme == "http":
		port = "80"
	case scheme == "https":
		port = "443"
	}
	hostport, path, _ := strings.Cut(hostport, "/")
	host, given, err := net.SplitHostPort(hostport)
	if err != nil {
		host, given = hostport, port
		if ip := net.ParseIP(strings.Trim(hostport, "[]")); ip != nil {
			host = ip.String()
		}
	}
	if n, err := strconv.ParseInt(given, 10, 32); err == nil && 0 <= n && n <= 65535 {
		port = given
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(connectable(host), port), Path: path}
	return strings.TrimRight(u.String(), "/")
}

// connectable is host as a client has to write it.
func connectable(host string) string {
	if host == "" {
		return "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil || !addr.IsUnspecified():
		return host
	case addr.Is4():
		return "127.0.0.1"
	default:
		return "::1"
	}
}

// isLoopback reports whether only this machine reaches a server on listen.
func isLoopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
