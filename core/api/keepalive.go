package api

import (
	"bytes"
	"encoding/json"
	"strings"
)

// stays is how long a model is to stay in memory after a request, while more
// of them wait.
const stays = "10m"

// mostPinned is how large a request may be to become a little larger: the
// target bounds it too, mostly at 64 MiB.
const mostPinned = 32 << 20

// pinned is a request to path that has the target keep its model in memory
// for a while after it. That is all that foreman ever changes in a request; one
// that says itself how long is left as it is, and so is one to a path that
// knows no such thing.
func pinned(path string, body []byte) []byte {
	if !strings.HasPrefix(path, "/api/") || len(body) > mostPinned || !json.Valid(body) {
		return body
	}
	if bytes.TrimLeft(body, jsonSpace)[0] != '{' {
		return body
	}
	empty := true
	for key := range members(body) {
		if means(key, "keep_alive") {
			return body
		}
		empty = false
	}
	field := `"keep_alive":"` + stays + `"`
	if !empty {
		field += ","
	}
	brace := bytes.IndexByte(body, '{') + 1
	out := make([]byte, 0, len(body)+len(field))
	return append(append(append(out, body[:brace]...), field...), body[brace:]...)
}
