//go:build unix

package testkit

import (
	"embed"
	"io"
	"os"
	"path/filepath"

	"github.com/seed-af7fee88/foreman/testdata/mkgguf"
)

// Names are the models that [StartOllama] makes, as Ollama lists them.
var Names = []string{
	"tiny:latest",       // says mkgguf.Sentence and stops
	"tiny2:latest",      // a copy of tiny: the same digest
	"me/tiny:v1",        // another, with a namespace and a tag
	"tiny-loop:latest",  // never stops by itself
	"tiny-tools:latest", // tiny's weights with a template for tools
	"tiny-embed:latest", // embeds, and can't chat
}

//go:embed modelfiles
var modelfiles embed.FS

func (o *Ollama) createModels() {
	o.t.Helper()
	o.writeWeights()
	if err := os.CopyFS(o.dir, modelfiles); err != nil {
		o.t.Fatal(err)
	}
	o.create("tiny", "tiny")
	o.create("tiny-loop", "loop")
	o.create("tiny-tools", "tools")
	o.create("tiny-embed", "embed")
	o.mustRun("cp", "tiny", "tiny2")
	o.mustRun("cp", "tiny", "me/tiny:v1")
}

// Create makes, or makes anew, a model of tiny's kind.
func (o *Ollama) Create(name string) {
	o.t.Helper()
	o.create(name, "tiny")
}

// Delete removes a model.
func (o *Ollama) Delete(name string) {
	o.t.Helper()
	o.mustRun("rm", name)
}

func (o *Ollama) create(name, modelfile string) {
	o.t.Helper()
	o.mustRun("create", name, "-f", filepath.Join(o.dir, "modelfiles", modelfile))
}

func (o *Ollama) mustRun(args ...string) {
	o.t.Helper()
	if _, stderr, err := o.Run(o.URL, args...); err != nil {
		o.t.Fatalf("ollama %q: %v\n%s", args, err, stderr)
	}
}

// writeWeights puts the weights where the Modelfiles expect them.
func (o *Ollama) writeWeights() {
	o.t.Helper()
	for name, model := range map[string]interface{ Write(io.Writer) error }{
		"parrot":   mkgguf.Parrot{Name: "tiny"},
		"forever":  mkgguf.Parrot{Name: "loop", Forever: true},
		"embedder": mkgguf.Embedder{Name: "tinybert"},
	} {
		if err := writeFile(filepath.Join(o.dir, "modelfiles", name+".gguf"), model.Write); err != nil {
			o.t.Fatal(err)
		}
	}
}

func writeFile(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
