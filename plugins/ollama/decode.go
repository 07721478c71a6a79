package ollama

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/seed-af7fee88/foreman/core"
)

// The decoders match keys by case, which encoding/json doesn't: a key MODELS
// must not be taken for models. null is as good as a missing field, and of two
// equal keys the last counts. They alias the body.

// decodeTags decodes an answer of /api/tags.
func decodeTags(body []byte) ([]core.Model, *core.Fault) {
	return decodeList(body, decodeModel)
}

// decodePS decodes an answer of /api/ps.
func decodePS(body []byte) ([]core.Resident, *core.Fault) {
	return decodeList(body, decodeResident)
}

func decodeModel(raw []byte) (m core.Model, bad string) {
	m.Raw = raw
	for key, v := range members(raw) {
		ok := true
		switch string(key) {
		case "name":
			ok = set(&m.Name, v, text)
		case "digest":
			ok = set(&m.Digest, v, text)
		case "size":
			ok = set(&m.Size, v, integer)
		case "modified_at":
			ok = set(&m.ModifiedAt, v, instant)
		case "details":
			ok = setDetails(&m, v)
		}
		if !ok {
			return m, string(key)
		}
	}
	if m.Name == "" {
		return m, "name"
	}
	return m, ""
}

func setDetails(m *core.Model, details []byte) bool {
	if isNull(details) {
		return true
	}
	if details[0] != '{' {
		return false
	}
	for key, v := range members(details) {
		ok := true
		switch string(key) {
		case "family":
			ok = set(&m.Family, v, text)
		case "parameter_size":
			ok = set(&m.ParameterSize, v, text)
		case "quantization_level":
			ok = set(&m.Quantization, v, text)
		}
		if !ok {
			return false
		}
	}
	return true
}

func decodeResident(raw []byte) (r core.Resident, bad string) {
	r.Raw = raw
	for key, v := range members(raw) {
		ok := true
		switch string(key) {
		case "name":
			ok = set(&r.Name, v, text)
		case "digest":
			ok = set(&r.Digest, v, text)
		case "size":
			ok = set(&r.Size, v, integer)
		case "size_vram":
			ok = set(&r.SizeVRAM, v, integer)
		case "context_length":
			ok = set(&r.ContextLength, v, integer)
		case "expires_at":
			ok = set(&r.ExpiresAt, v, instant)
		}
		if !ok {
			return r, string(key)
		}
	}
	if r.Name == "" {
		return r, "name"
	}
	return r, ""
}

// decodeList decodes the entries of `models`. decode is given a JSON object,
// and names the key whose value is wrong, or "".
func decodeList[T any](body []byte, decode func([]byte) (T, string)) ([]T, *core.Fault) {
	body = clean(body)
	if fault := checkJSON(body); fault != nil {
		return nil, fault
	}
	if body[0] != '{' {
		return nil, faultf(core.ReasonNoModels, "the answer is not a JSON object")
	}
	array := member(body, "models")
	if array == nil || array[0] != '[' {
		if said := errorField(body); said != "" {
			return nil, faultf(core.ReasonNoModels, "no models in the answer, but an error: %s", said)
		}
		return nil, faultf(core.ReasonNoModels, "no array of models in the answer")
	}
	list := make([]T, 0, len(array)/256) // an entry of tags has about 300 bytes
	for raw := range elements(array) {
		if raw[0] != '{' {
			return nil, faultf(core.ReasonBadModel, "models[%d] is not an object", len(list))
		}
		entry, bad := decode(raw[:len(raw):len(raw)])
		if bad != "" {
			return nil, faultf(core.ReasonBadModel, "models[%d] has no usable %q", len(list), bad)
		}
		list = append(list, entry)
	}
	return list, nil
}

// decodeVersion decodes an answer of /api/version.
func decodeVersion(body []byte) (string, *core.Fault) {
	body = clean(body)
	if json.Valid(body) && body[0] == '{' {
		if version, ok := text(member(body, "version")); ok {
			return version, nil
		}
	}
	return "", faultf(core.ReasonWrongTarget, "the answer states no version: not Ollama's API")
}

// checkJSON makes sure that body is one JSON value and nothing else.
func checkJSON(body []byte) *core.Fault {
	if json.Valid(body) {
		return nil
	}
	if len(body) == 0 {
		return faultf(core.ReasonNotJSON, "the answer is empty")
	}
	err := json.Unmarshal(body, new(json.RawMessage))
	if err.Error() == "unexpected end of JSON input" {
		return faultf(core.ReasonTruncated, "the answer's JSON ends early, after %d bytes", len(body))
	}
	return faultf(core.ReasonNotJSON, "the answer is not JSON: %v", err)
}

// errorField is what {"error":"…"} says; "" of any other JSON.
func errorField(body []byte) string {
	body = trim(body)
	if body[0] != '{' {
		return ""
	}
	said, _ := text(member(body, "error"))
	return said
}

// member is the last value under key, or nil.
func member(object []byte, key string) []byte {
	var last []byte
	for k, v := range members(object) {
		if string(k) == key {
			last = v
		}
	}
	return last
}

// clean is the trimmed body with U+FFFD where it isn't UTF-8.
func clean(body []byte) []byte {
	body = trim(body)
	if utf8.Valid(body) {
		return body
	}
	return bytes.ToValidUTF8(body, []byte(string(utf8.RuneError)))
}

// trim cuts a byte order mark and the white space around a JSON value.
func trim(body []byte) []byte {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	return bytes.Trim(body, " \n\r\t")
}

func isNull(v []byte) bool { return v[0] == 'n' }

// set parses v into field, which a null leaves as it is.
func set[T any](field *T, v []byte, parse func([]byte) (T, bool)) bool {
	if isNull(v) {
		return true
	}
	parsed, ok := parse(v)
	if ok {
		*field = parsed
	}
	return ok
}

func text(v []byte) (string, bool) {
	if len(v) == 0 || v[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1]), true
	}
	var s string
	err := json.Unmarshal(v, &s)
	return s, err == nil
}

func integer(v []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}

func instant(v []byte) (time.Time, bool) {
	var t time.Time
	if v[0] != '"' {
		return t, false
	}
	err := t.UnmarshalJSON(v)
	return t.UTC(), err == nil
}
