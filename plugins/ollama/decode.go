package ollama

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
)

// The decoders match keys by case, which encoding/json doesn't: a key MODELS
// must not be taken for models. encoding/json says whether a body is JSON at
// all, which gjson doesn't, and gjson reads it. null is as good as a missing
// field. Of two equal keys in an entry the last counts; two lists are a fault,
// since one of them may be empty.

// decodeTags decodes an answer of /api/tags.
func decodeTags(body []byte) ([]core.Model, *core.Fault) {
	return decodeList(body, decodeModel)
}

// decodePS decodes an answer of /api/ps.
func decodePS(body []byte) ([]core.Resident, *core.Fault) {
	return decodeList(body, decodeResident)
}

func decodeModel(entry gjson.Result) (m core.Model, bad string) {
	m.Raw = json.RawMessage(entry.Raw)
	bad = fields(entry, func(key string, v gjson.Result) bool {
		switch key {
		case "name":
			return set(&m.Name, v, text)
		case "digest":
			return set(&m.Digest, v, text)
		case "size":
			return set(&m.Size, v, integer)
		case "modified_at":
			return set(&m.ModifiedAt, v, instant)
		case "details":
			return setDetails(&m, v)
		}
		return true
	})
	if bad == "" && m.Name == "" {
		bad = "name"
	}
	return m, bad
}

func setDetails(m *core.Model, details gjson.Result) bool {
	if details.Type == gjson.Null {
		return true
	}
	if !details.IsObject() {
		return false
	}
	bad := fields(details, func(key string, v gjson.Result) bool {
		switch key {
		case "family":
			return set(&m.Family, v, text)
		case "parameter_size":
			return set(&m.ParameterSize, v, text)
		case "quantization_level":
			return set(&m.Quantization, v, text)
		}
		return true
	})
	return bad == ""
}

func decodeResident(entry gjson.Result) (r core.Resident, bad string) {
	r.Raw = json.RawMessage(entry.Raw)
	bad = fields(entry, func(key string, v gjson.Result) bool {
		switch key {
		case "name":
			return set(&r.Name, v, text)
		case "digest":
			return set(&r.Digest, v, text)
		case "size":
			return set(&r.Size, v, integer)
		case "size_vram":
			return set(&r.SizeVRAM, v, integer)
		case "context_length":
			return set(&r.ContextLength, v, integer)
		case "expires_at":
			return set(&r.ExpiresAt, v, instant)
		}
		return true
	})
	if bad == "" && r.Name == "" {
		bad = "name"
	}
	return r, bad
}

// fields gives take each field of the object, and returns the first key whose
// value it doesn't take, or "".
func fields(object gjson.Result, take func(key string, v gjson.Result) bool) (bad string) {
	object.ForEach(func(key, v gjson.Result) bool {
		if !take(key.Str, v) {
			bad = key.Str
		}
		return bad == ""
	})
	return bad
}

// decodeList decodes the entries of `models`. decode is given a JSON object,
// and names the key whose value is wrong, or "".
func decodeList[T any](body []byte, decode func(gjson.Result) (T, string)) ([]T, *core.Fault) {
	body = clean(body)
	if fault := checkJSON(body); fault != nil {
		return nil, fault
	}
	answer := gjson.ParseBytes(body)
	if !answer.IsObject() {
		return nil, faultf(core.ReasonNoModels, "the answer is not a JSON object")
	}
	array, twice := member(answer, "models")
	if twice {
		return nil, faultf(core.ReasonNoModels, "models stands twice in the answer")
	}
	if !array.IsArray() {
		if said := errorField(body); said != "" {
			return nil, faultf(core.ReasonNoModels, "no models in the answer, but an error: %s", said)
		}
		return nil, faultf(core.ReasonNoModels, "no array of models in the answer")
	}
	list := make([]T, 0, len(array.Raw)/256) // an entry of tags has about 300 bytes
	var fault *core.Fault
	array.ForEach(func(_, entry gjson.Result) bool {
		if !entry.IsObject() {
			fault = faultf(core.ReasonBadModel, "models[%d] is not an object", len(list))
			return false
		}
		model, bad := decode(entry)
		if bad != "" {
			fault = faultf(core.ReasonBadModel, "models[%d] has no usable %q", len(list), bad)
			return false
		}
		list = append(list, model)
		return true
	})
	if fault != nil {
		return nil, fault
	}
	return list, nil
}

// decodeVersion decodes an answer of /api/version.
func decodeVersion(body []byte) (string, *core.Fault) {
	body = clean(body)
	if json.Valid(body) {
		stated, _ := member(gjson.ParseBytes(body), "version")
		if version, ok := text(stated); ok {
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
	stated, _ := member(gjson.ParseBytes(trim(body)), "error")
	said, _ := text(stated)
	return said
}

// member is the last value under key in an object, else one that doesn't
// exist, and whether there is more than one.
func member(object gjson.Result, key string) (last gjson.Result, twice bool) {
	if !object.IsObject() {
		return last, false
	}
	object.ForEach(func(k, v gjson.Result) bool {
		if k.Str == key {
			last, twice = v, last.Exists()
		}
		return true
	})
	return last, twice
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

// set parses v into field, which a null leaves as it is.
func set[T any](field *T, v gjson.Result, parse func(gjson.Result) (T, bool)) bool {
	if v.Type == gjson.Null {
		return true
	}
	parsed, ok := parse(v)
	if ok {
		*field = parsed
	}
	return ok
}

func text(v gjson.Result) (string, bool) { return v.Str, v.Type == gjson.String }

func integer(v gjson.Result) (int64, bool) {
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	return n, err == nil
}

func instant(v gjson.Result) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, v.Str)
	return t.UTC(), v.Type == gjson.String && err == nil
}
