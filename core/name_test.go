package core_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
)

const recorded = "../testdata/ollama/"

// recordedName is a line of names.txt.
type recordedName struct {
	name         string
	valid, found bool
}

func recordedNames(tb testing.TB) []recordedName {
	tb.Helper()
	file, err := os.ReadFile(recorded + "names.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var names []recordedName
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var n recordedName
		var valid, found string
		if _, err := fmt.Sscanf(line, "%q %s %s", &n.name, &valid, &found); err != nil {
			tb.Fatalf("%s: %v", line, err)
		}
		n.valid, n.found = valid == "valid", found == "found"
		names = append(names, n)
	}
	if len(names) < 60 {
		tb.Fatalf("only %d names in names.txt", len(names))
	}
	return names
}

// recordedInstalled is the set of models that were installed meanwhile.
func recordedInstalled(t *testing.T) map[core.ModelName]bool {
	t.Helper()
	reply, err := os.ReadFile(recorded + "tags-many.http")
	if err != nil {
		t.Fatal(err)
	}
	var tags struct{ Models []struct{ Name string } }
	if err := json.Unmarshal(reply[bytes.IndexByte(reply, '{'):], &tags); err != nil {
		t.Fatal(err)
	}
	set := make(map[core.ModelName]bool)
	for _, m := range tags.Models {
		name, err := core.ParseModelName(m.Name)
		if err != nil {
			t.Errorf("an installed model: %v", err)
		}
		set[name] = true
	}
	return set
}

func TestModelNamesMeanWhatALiveServerSaid(t *testing.T) {
	installed := recordedInstalled(t)
	for _, n := range recordedNames(t) {
		name, err := core.ParseModelName(n.name)
		if (err == nil) != n.valid {
			t.Errorf("ParseModelName(%q): error %v, but the server says valid is %v", n.name, err, n.valid)
		}
		if err != nil && !errors.Is(err, core.ErrInvalidName) {
			t.Errorf("ParseModelName(%q): %v is not ErrInvalidName", n.name, err)
		}
		if installed[name] != n.found {
			t.Errorf("%q means %q, which was installed: %v; but the server says found is %v",
				n.name, name, installed[name], n.found)
		}
	}
}

func TestModelNamesThatMeanOneModel(t *testing.T) {
	for want, spellings := range map[string][]string{
		"tiny:latest": {"tiny", "TINY:Latest", "library/tiny", "registry.ollama.ai/library/tiny:latest",
			"https://registry.ollama.ai/library/tiny", "http://Registry.Ollama.AI/Library/Tiny"},
		"me/tiny:v1":                       {"me/tiny:v1", "ME/Tiny:V1", "registry.ollama.ai/me/tiny:v1"},
		"me/tiny:latest":                   {"me/tiny"},
		"hf.co/me/tiny-gguf:q8_0":          {"hf.co/me/Tiny-GGUF:Q8_0"},
		"example.com:5000/library/tiny:v1": {"example.com:5000/library/tiny:v1", "http://example.com:5000/library/tiny:v1"},
	} {
		for _, s := range spellings {
			name, err := core.ParseModelName(s)
			if err != nil || name.String() != want {
				t.Errorf("ParseModelName(%q) = %q, %v; want %q", s, name, err, want)
			}
		}
	}
}

func TestModelNameNamespace(t *testing.T) {
	for s, want := range map[string]string{"tiny": "library", "ME/tiny": "me", "hf.co/You/tiny": "you"} {
		name, err := core.ParseModelName(s)
		if err != nil || name.Namespace() != want {
			t.Errorf("namespace of %q is %q, %v; want %q", s, name.Namespace(), err, want)
		}
	}
}

func FuzzParseModelName(f *testing.F) {
	for _, n := range recordedNames(f) {
		f.Add(n.name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := core.ParseModelName(s)
		other, otherErr := core.ParseModelName(swapCase(s))
		if (err == nil) != (otherErr == nil) || name != other {
			t.Errorf("%q is %q, %v; in the other case %q, %v", s, name, err, other, otherErr)
		}
		if err != nil {
			if name != (core.ModelName{}) || !errors.Is(err, core.ErrInvalidName) {
				t.Errorf("%q: %q with error %v", s, name, err)
			}
			return
		}
		again, err := core.ParseModelName(name.String())
		if err != nil || again != name {
			t.Errorf("%q is written %q, which is %q, %v", s, name, again, err)
		}
	})
}

// swapCase turns the case of ASCII letters; others can't be part of a name.
func swapCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c|0x20 && c|0x20 <= 'z' {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}

// Servers that aren't Ollama call their models what they like.
func TestFindByTheNameThatTheTargetStates(t *testing.T) {
	for _, id := range []string{
		"Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-8B", "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "gemma-3-4b-it",
		"qwen2.5-7b-instruct@q4_k_m", "/models/foo.gguf", "models/foo.gguf", "C:\\models\\foo.gguf", "a/b/c/d", "my model",
		"01.ai/yi-34b", "accounts/fireworks/models/llama-v3", "openrouter/auto:free",
		"a-name-of-more-than-eighty-characters-as-file-names-of-quantised-merges-often-are-these-days-Q4_K_M.gguf",
	} {
		inv := core.NewInventory([]core.Model{{Name: id}}, "")
		found := false
		for _, name := range core.Meanings(id) {
			if _, ok := inv.Find(name); ok {
				found = true
			}
		}
		if !found {
			t.Errorf("%s: installed, and not found", id)
		}
	}
}
