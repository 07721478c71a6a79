package core

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalidName is returned for a string that can't name a model.
var ErrInvalidName = errors.New("not a model name")

// A ModelName is a model's identity by Ollama's own rule: host, namespace,
// model and tag, each with its default, compared without case. Two names mean
// the same model exactly if they are ==, so a ModelName serves as a map key.
//
// The rule is that of github.com/ollama/ollama/types/model, whose module
// would cost every build a download of 23 MB; testdata/ollama/names.txt holds
// what a live server said of each recorded name.
type ModelName struct {
	host, namespace, model, tag string // host is "" of a name that [NameOf] took literally
}

const (
	maxLiteral       = 512
	defaultHost      = "registry.ollama.ai"
	defaultNamespace = "library"
	defaultTag       = "latest"
)

// ParseModelName reads [[scheme://]host/][namespace/]model[:tag]. Its error
// is an [ErrInvalidName].
func ParseModelName(s string) (ModelName, error) {
	n := ModelName{host: defaultHost, namespace: defaultNamespace, tag: defaultTag}
	rest := s
	// A colon before the last slash belongs to a scheme or a port.
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		rest, n.tag = rest[:i], rest[i+1:]
	}
	rest, part, more := cutLast(rest)
	n.model = part
	if more {
		rest, n.namespace, more = cutLast(rest)
	}
	if more {
		n.host = rest
		if _, host, ok := strings.Cut(rest, "://"); ok {
			n.host = host
			if host == "" { // Ollama's merge fills it in again
				n.host = defaultHost
			}
		}
	}
	// Validity comes before case: the Kelvin sign lowers to a plain k.
	if !isPart(n.host, 350, ".:") || !isPart(n.namespace, 80, "") ||
		!isPart(n.model, 80, ".") || !isPart(n.tag, 80, ".") {
		return ModelName{}, fmt.Errorf("%q: %w", s, ErrInvalidName)
	}
	n.host, n.namespace = strings.ToLower(n.host), strings.ToLower(n.namespace)
	n.model, n.tag = strings.ToLower(n.model), strings.ToLower(n.tag)
	return n, nil
}

// NameOf is [ParseModelName] for what a target calls its model. Servers other
// than Ollama have names that break its rule, such as a file's path: those
// mean themselves, letter by letter. The zero ModelName stands for nothing or
// over 512 bytes.
func NameOf(s string) ModelName {
	name, err := ParseModelName(s)
	if err != nil && len(s) <= maxLiteral {
		name.model = s
	}
	return name
}

// Meanings are what a server may take s for, the likelier first: what it says,
// and what it says without ":local", which Ollama strips after 0.17.4
// (internal/modelref/modelref.go).
func Meanings(s string) []ModelName {
	var names []ModelName
	if name := NameOf(s); name != (ModelName{}) {
		names = append(names, name)
	}
	const local = ":local"
	if i := len(s) - len(local); i > 0 && strings.EqualFold(s[i:], local) {
		if name, err := ParseModelName(s[:i]); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// InCloud reports whether s names a model that Ollama runs in its cloud, which
// it may not list and which takes none of the target's memory.
func InCloud(s string) bool {
	lower := strings.ToLower(s)
	return strings.HasSuffix(lower, ":cloud") || strings.HasSuffix(lower, "-cloud")
}

// Namespace is who publishes the model, "library" unless the name says.
func (n ModelName) Namespace() string { return n.namespace }

// String is the shortest way to write n, in lower case, tag included; of what
// was taken literally, that.
func (n ModelName) String() string {
	switch {
	case n.host == "":
		return n.model
	case n.host != defaultHost:
		return n.host + "/" + n.namespace + "/" + n.model + ":" + n.tag
	case n.namespace != defaultNamespace:
		return n.namespace + "/" + n.model + ":" + n.tag
	default:
		return n.model + ":" + n.tag
	}
}

// cutLast cuts s at its last slash; without one, all of s is the part after.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// isPart reports whether s is made of letters, digits, '_', and, but for its
// first byte, '-' and the bytes in extra.
func isPart(s string, most int, extra string) bool {
	if len(s) == 0 || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		case i > 0 && (c == '-' || strings.IndexByte(extra, c) >= 0):
		default:
			return false
		}
	}
	return true
}
