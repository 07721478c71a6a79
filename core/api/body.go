package api

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"
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

// modelOf returns the model that a body names, as encoding/json would read it
// into a struct: under the first of the keys that has one, in any case. A
// body that has a key twice is refused, since the target might read the other
// one.
func modelOf(body []byte, keys ...string) (string, error) {
	if len(body) == 0 {
		return "", errorf(http.StatusBadRequest, "missing request body")
	}
	if !json.Valid(body) { // gjson reads on where encoding/json would stop
		return "", errorf(http.StatusBadRequest, "the request's body is not JSON")
	}
	root := gjson.ParseBytes(body)
	if !root.IsObject() {
		return "", errorf(http.StatusBadRequest, "the request's body is not a JSON object")
	}
	for _, key := range keys {
		name, err := stringAt(root, key)
		if name != "" || err != nil {
			return name, err
		}
	}
	return "", errorf(http.StatusBadRequest, "model is required")
}

// stringAt is the string under key, in any case; "" if there is none, or null.
func stringAt(root gjson.Result, key string) (string, error) {
	var found []gjson.Result
	root.ForEach(func(k, value gjson.Result) bool {
		if strings.EqualFold(k.Str, key) {
			found = append(found, value)
		}
		return true
	})
	switch {
	case len(found) > 1:
		return "", errorf(http.StatusBadRequest, "the request's body has %s twice", key)
	case len(found) == 0, found[0].Type == gjson.Null:
		return "", nil
	case found[0].Type != gjson.String:
		return "", errorf(http.StatusBadRequest, "%s is not a string", key)
	}
	var name string // gjson and encoding/json read invalid UTF-8 differently
	err := json.Unmarshal([]byte(found[0].Raw), &name)
	return name, err
}
