package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

type route struct {
	allow string // the Allow header, in Ollama's order
	serve http.HandlerFunc
}

// table is every route but /v1/models/{id}, by path.
func (s *Server) table() map[string]route {
	return map[string]route{
		"/":                    {"HEAD, GET", s.root},
		"/api/version":         {"HEAD, GET", s.versionHandler},
		"/api/tags":            {"HEAD, GET", s.tags},
		"/api/ps":              {"GET", s.ps},
		"/api/show":            {"POST", s.show},
		"/api/generate":        {"POST", s.generate},
		"/api/chat":            {"POST", s.chat},
		"/api/embed":           {"POST", s.embed},
		"/api/embeddings":      {"POST", s.embeddings},
		"/v1/models":           {"GET", s.openAIModels},
		"/v1/chat/completions": {"POST", s.openAIChat},
		"/v1/completions":      {"POST", s.openAICompletions},
		"/v1/embeddings":       {"POST", s.openAIEmbeddings},
	}
}

func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	found, ok := s.routes[r.URL.Path]
	// As in Ollama, an id with a slash in it, even an escaped one, is no route.
	if id, under := strings.CutPrefix(r.URL.Path, "/v1/models/"); under && id != "" && !strings.Contains(id, "/") {
		found, ok = route{"GET", s.openAIModel}, true
	}
	switch {
	case !ok:
		writeText(w, http.StatusNotFound, "404 page not found")
	case !slices.Contains(strings.Split(found.allow, ", "), r.Method):
		w.Header().Set("Allow", found.allow)
		writeText(w, http.StatusMethodNotAllowed, "405 method not allowed")
	default:
		found.serve(w, r)
	}
}

func (s *Server) root(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "Ollama is running")
}

func (s *Server) versionHandler(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"version": s.version})
}

func (s *Server) tags(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body := s.catalog.tagsBody()
	s.mu.Unlock()
	w.Header().Set("Content-Type", jsonType)
	w.Write(body)
}

const jsonType = "application/json; charset=utf-8"

// writeJSON answers as Ollama's native routes do.
func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(code)
	w.Write(mustJSON(v))
}

func writeError(w http.ResponseWriter, code int, format string, args ...any) {
	writeJSON(w, code, map[string]string{"error": fmt.Sprintf(format, args...)})
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(code)
	io.WriteString(w, text)
}

// mustJSON encodes a value of ours, which always encodes.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// maxRequest bounds what a request may make us keep.
const maxRequest = 64 << 20

// decode reads the first JSON value of r's body and ignores the rest, as
// Ollama does. It reads to the end, since net/http doesn't notice a caller
// that leaves before that.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	body := http.MaxBytesReader(w, r.Body, maxRequest)
	err := json.NewDecoder(body).Decode(v)
	io.Copy(io.Discard, body)
	return err
}

// foreign reports whether Ollama, listening on loopback, would refuse r with
// 403: a Host that may be a rebound name, or the Origin of somebody's page.
func foreign(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if !local(host) {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil {
		return true
	}
	switch u.Scheme {
	case "http", "https":
		return !slices.Contains([]string{"localhost", "127.0.0.1", "0.0.0.0"}, u.Hostname())
	case "app", "file", "tauri", "vscode-webview", "vscode-file":
		return false
	default:
		return true
	}
}

func local(host string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified()
	}
	host = strings.ToLower(host)
	if self, err := os.Hostname(); err == nil && host == strings.ToLower(self) {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal")
}
