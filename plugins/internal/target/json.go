package target

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
)

// Keys are matched by case, which encoding/json doesn't: a key MODELS must not
// be taken for models. encoding/json says whether a body is JSON at all, which
// gjson doesn't, and gjson reads it. null is as good as a missing field. Of
// two equal keys in an entry the last counts; two lists are a fault, since one
// of them may be empty.

// DecodeList decodes the entries of the array under key. decode is given a
// JSON object, and names the key whose value is wrong, or "".
func DecodeList[T any](body []byte, key string, decode func(gjson.Result) (T, string)) ([]T, *core.Fault) {
	body = Clean(body)
	if fault := checkJSON(body); fault != nil {
		return nil, fault
	}
	answer := gjson.ParseBytes(body)
	if !answer.IsObject() {
		return nil, Faultf(core.ReasonNoModels, "the answer is not a JSON object")
	}
	array, twice := Member(answer, key)
	if twice {
		return nil, Faultf(core.ReasonNoModels, "%s stands twice in the answer", key)
	}
	if !array.IsArray() {
		if said := ErrorField(body); said != "" {
			return nil, Faultf(core.ReasonNoModels, "no %s in the answer, but an error: %s", key, said)
		}
		return nil, Faultf(core.ReasonNoModels, "no array of %s in the answer", key)
	}
	list := make([]T, 0, len(array.Raw)/256) // an entry of Ollama's tags has about 300 bytes
	var fault *core.Fault
	array.ForEach(func(_, entry gjson.Result) bool {
		if !entry.IsObject() {
			fault = Faultf(core.ReasonBadModel, "%s[%d] is not an object", key, len(list))
			return false
		}
		model, bad := decode(entry)
		if bad != "" {
			fault = Faultf(core.ReasonBadModel, "%s[%d] has no usable %q", key, len(list), bad)
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

// checkJSON makes sure that body is one JSON value and nothing else.
func checkJSON(body []byte) *core.Fault {
	if json.Valid(body) {
		return nil
	}
	if len(body) == 0 {
		return Faultf(core.ReasonNotJSON, "the answer is empty")
	}
	err := json.Unmarshal(body, new(json.RawMessage))
	if err.Error() == "unexpected end of JSON input" {
		return Faultf(core.ReasonTruncated, "the answer's JSON ends early, after %d bytes", len(body))
	}
	return Faultf(core.ReasonNotJSON, "the answer is not JSON: %v", err)
}

// ErrorField is what {"error":"…"} says, as Ollama writes it, or
// {"error":{"message":"…"}}, as OpenAI does; "" of any other JSON.
func ErrorField(body []byte) string {
	stated, _ := Member(gjson.ParseBytes(Trim(body)), "error")
	if stated.IsObject() {
		stated, _ = Member(stated, "message")
	}
	said, _ := Text(stated)
	return said
}

// Fields gives take each field of the object, and returns the first key whose
// value it doesn't take, or "".
func Fields(object gjson.Result, take func(key string, v gjson.Result) bool) (bad string) {
	object.ForEach(func(key, v gjson.Result) bool {
		if !take(key.Str, v) {
			bad = key.Str
		}
		return bad == ""
	})
	return bad
}

// Member is the last value under key in an object, else one that doesn't
// exist, and whether there is more than one.
func Member(object gjson.Result, key string) (last gjson.Result, twice bool) {
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

// Clean is the trimmed body with U+FFFD where it isn't UTF-8.
func Clean(body []byte) []byte {
	body = Trim(body)
	if utf8.Valid(body) {
		return body
	}
	return bytes.ToValidUTF8(body, []byte(string(utf8.RuneError)))
}

// Trim cuts a byte order mark and the white space around a JSON value.
func Trim(body []byte) []byte {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	return bytes.Trim(body, " \n\r\t")
}

// Set parses v into field, which a null leaves as it is.
func Set[T any](field *T, v gjson.Result, parse func(gjson.Result) (T, bool)) bool {
	if v.Type == gjson.Null {
		return true
	}
	parsed, ok := parse(v)
	if ok {
		*field = parsed
	}
	return ok
}

// Text is a JSON string.
func Text(v gjson.Result) (string, bool) { return v.Str, v.Type == gjson.String }

// Integer is a JSON number without a fraction or an exponent.
func Integer(v gjson.Result) (int64, bool) {
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	return n, err == nil
}

// Instant is a JSON string that holds a time of RFC 3339.
func Instant(v gjson.Result) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, v.Str)
	return t.UTC(), v.Type == gjson.String && err == nil
}
