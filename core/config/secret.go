package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// A Secret is a string that only [Secret.Reveal] shows: printed, logged or
// encoded it is redacted. The zero Secret is unset.
type Secret struct {
	// A pointer, since fmt can't call methods on the unexported field of a
	// struct around a Secret: of a pointer in there it prints the address.
	value *string
}

const redacted = "[redacted]"

// NewSecret wraps value; of "" it is unset.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal is the secret itself, "" if it is unset.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Equal reports whether both reveal the same. It isn't constant in time.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String is "[redacted]", or "" if s is unset.
func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return redacted
}

// Format redacts s whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue redacts s in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText redacts s in JSON, TOML and whatever else asks for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// variable is what a name of an environment variable looks like. What doesn't
// may be the secret itself, put in the wrong place.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secret reads a string, { env = "NAME" } or { file = "PATH" }.
func (r *reader) secret(v any) (Secret, error) {
	var env, file string
	switch v := v.(type) {
	case string:
		return checkSecret(v, "the secret")
	case map[string]any:
		if len(v) == 1 {
			env, _ = v["env"].(string)
			file, _ = v["file"].(string)
		}
	}
	switch {
	case env != "" && !variable.MatchString(env):
		return Secret{}, errors.New("env must be the name of an environment variable")
	case env != "":
		return checkSecret(r.getenv(env), "$"+env)
	case file != "":
		path, err := r.path(file)
		if err != nil {
			return Secret{}, err
		}
		data, err := readFile(path)
		r.read.files = append(r.read.files, fileAt(path, data))
		if err != nil {
			return Secret{}, fmt.Errorf("%q %w", path, err)
		}
		return checkSecret(strings.TrimRight(string(data), "\r\n"), fmt.Sprintf("%q", path))
	}
	return Secret{}, errors.New(`must be a string, { env = "NAME" } or { file = "PATH" }`)
}

// checkSecret refuses what can't be sent in an HTTP header.
func checkSecret(value, source string) (Secret, error) {
	switch {
	case value == "":
		return Secret{}, fmt.Errorf("%s is empty or not set", source)
	case strings.TrimSpace(value) != value:
		return Secret{}, fmt.Errorf("%s begins or ends with a space", source)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Secret{}, fmt.Errorf("%s holds a line break or another control character", source)
	}
	return NewSecret(value), nil
}
