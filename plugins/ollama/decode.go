package ollama

import (
	"encoding/json"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

// decodeTags decodes an answer of /api/tags.
func decodeTags(body []byte) ([]core.Model, *core.Fault) {
	return target.DecodeList(body, "models", decodeModel)
}

// decodePS decodes an answer of /api/ps.
func decodePS(body []byte) ([]core.Resident, *core.Fault) {
	return target.DecodeList(body, "models", decodeResident)
}

func decodeModel(entry gjson.Result) (m core.Model, bad string) {
	m.Raw = json.RawMessage(entry.Raw)
	bad = target.Fields(entry, func(key string, v gjson.Result) bool {
		switch key {
		case "name":
			return target.Set(&m.Name, v, target.Text)
		case "digest":
			return target.Set(&m.Digest, v, target.Text)
		case "size":
			return target.Set(&m.Size, v, target.Integer)
		case "modified_at":
			return target.Set(&m.ModifiedAt, v, target.Instant)
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
	bad := target.Fields(details, func(key string, v gjson.Result) bool {
		switch key {
		case "family":
			return target.Set(&m.Family, v, target.Text)
		case "parameter_size":
			return target.Set(&m.ParameterSize, v, target.Text)
		case "quantization_level":
			return target.Set(&m.Quantization, v, target.Text)
		}
		return true
	})
	return bad == ""
}

func decodeResident(entry gjson.Result) (r core.Resident, bad string) {
	r.Raw = json.RawMessage(entry.Raw)
	bad = target.Fields(entry, func(key string, v gjson.Result) bool {
		switch key {
		case "name":
			return target.Set(&r.Name, v, target.Text)
		case "digest":
			return target.Set(&r.Digest, v, target.Text)
		case "size":
			return target.Set(&r.Size, v, target.Integer)
		case "size_vram":
			return target.Set(&r.SizeVRAM, v, target.Integer)
		case "context_length":
			return target.Set(&r.ContextLength, v, target.Integer)
		case "expires_at":
			return target.Set(&r.ExpiresAt, v, target.Instant)
		}
		return true
	})
	if bad == "" && r.Name == "" {
		bad = "name"
	}
	return r, bad
}

// decodeVersion decodes an answer of /api/version.
func decodeVersion(body []byte) (string, *core.Fault) {
	body = target.Clean(body)
	if json.Valid(body) {
		stated, _ := target.Member(gjson.ParseBytes(body), "version")
		if version, ok := target.Text(stated); ok {
			return version, nil
		}
	}
	return "", target.Faultf(core.ReasonWrongTarget, "the answer states no version: not Ollama's API")
}
