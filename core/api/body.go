package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// decoded undoes a Content-Encoding.
func decoded(sent io.ReadCloser, encoding string) (io.ReadCloser, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return sent, nil
	case "gzip":
		plain, err := gzip.NewReader(sent)
		if err != nil {
			return nil, errorf(http.StatusBadRequest, "the request's body is not gzip, as its Content-Encoding says")
		}
		return plain, nil
	case "zstd":
		plain, err := zstd.NewReader(sent, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, err // of the options: nothing has been read yet
		}
		return plain.IOReadCloser(), nil
	default:
		return nil, errorf(http.StatusUnsupportedMediaType, "Content-Encoding %q isn't understood: send gzip, zstd or nothing", encoding)
	}
}

// jsonSpace is what JSON allows between its tokens.
const jsonSpace = " \t\r\n"

// modelOf returns the model that a body names, as encoding/json would read it
// into a struct: under the first of the keys that has one, in any case. A
// body that has a key twice is refused, since the target might read the other
// one.
func modelOf(body []byte, keys ...string) (string, error) {
	if len(body) == 0 {
		return "", errorf(http.StatusBadRequest, "missing request body")
	}
	if !json.Valid(body) {
		return "", errorf(http.StatusBadRequest, "the request's body is not JSON")
	}
	if bytes.TrimLeft(body, jsonSpace)[0] != '{' {
		return "", errorf(http.StatusBadRequest, "the request's body is not a JSON object")
	}
	for _, key := range keys {
		name, err := stringAt(body, key)
		if name != "" || err != nil {
			return name, err
		}
	}
	return "", errorf(http.StatusBadRequest, "model is required")
}

// stringAt is the string under key, in any case; "" if there is none, or null.
func stringAt(object []byte, key string) (string, error) {
	var found [][]byte
	for k, value := range members(object) {
		if means(k, key) {
			found = append(found, value)
		}
	}
	switch {
	case len(found) > 1:
		return "", errorf(http.StatusBadRequest, "the request's body has %s twice", key)
	case len(found) == 0, string(found[0]) == "null":
		return "", nil
	case found[0][0] != '"':
		return "", errorf(http.StatusBadRequest, "%s is not a string", key)
	}
	var name string
	err := json.Unmarshal(found[0], &name)
	return name, err
}

// members are the keys and values of a JSON object, as they are written. The
// object is valid; nothing of it is copied, for it may be large.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		rest := bytes.TrimLeft(object, jsonSpace)[1:]
		for {
			rest = bytes.TrimLeft(rest, jsonSpace+",")
			if rest[0] == '}' {
				return
			}
			key := rest[:stringEnd(rest)]
			rest = bytes.TrimLeft(rest[len(key):], jsonSpace+":")
			value := rest[:valueEnd(rest)]
			if !yield(key, value) {
				return
			}
			rest = rest[len(value):]
		}
	}
}

// means reports whether a key, as it is written, is name to encoding/json,
// which ignores case.
func means(key []byte, name string) bool {
	const longest = len(`\u0000`) // way to write a character of name
	if len(key) > longest*len(name)+len(`""`) {
		return false
	}
	var plain string
	return json.Unmarshal(key, &plain) == nil && strings.EqualFold(plain, name)
}

// valueEnd is where the value that valid text begins with ends. More follows.
func valueEnd(text []byte) int {
	switch text[0] {
	case '"':
		return stringEnd(text)
	case '{', '[':
		return nestEnd(text)
	default:
		return bytes.IndexAny(text, jsonSpace+",}")
	}
}

func nestEnd(text []byte) int {
	for i, depth := 0, 0; ; i++ {
		switch text[i] {
		case '"':
			i += stringEnd(text[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

func stringEnd(text []byte) int {
	for i := 1; ; i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}
