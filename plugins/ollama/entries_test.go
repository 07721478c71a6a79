package ollama

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// manyEntries are n entries of /api/tags as a real server writes them.
func manyEntries(n int) []string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"name":"team%d/model-%d:latest","model":"team%d/model-%d:latest",`+
			`"modified_at":"2026-11-23T08:19:39.249530578Z","size":%d,"digest":"%x",`+
			`"details":{"parent_model":"","format":"gguf","family":"llama","families":["llama"],`+
			`"parameter_size":"98K","quantization_level":"F16"}}`,
			i%100, i, i%100, i, 206080+i, sha256.Sum256(fmt.Append(nil, i)))
	}
	return entries
}

func tagsBody(entries []string) []byte {
	return []byte(`{"models":[` + strings.Join(entries, ",") + `]}`)
}
