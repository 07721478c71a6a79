package core_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/seed-af7fee88/foreman/"

// layers says who may import whom, in files that aren't tests. It is the
// picture in doc.go as a table: change both together.
var layers = map[string]layer{
	"core": {outside: []string{"github.com/agext/levenshtein"}},

	// The rooms: they know core, never each other.
	"core/config":      {ours: []string{"core"}},
	"core/inventory":   {ours: []string{"core"}},
	"core/events":      {ours: []string{"core"}},
	"core/outbox":      {ours: []string{"core"}},
	"core/sched":       {ours: []string{"core"}},
	"core/jobs":        {ours: []string{"core"}},
	"core/api":         {ours: []string{"core"}},
	"core/plugin/host": {ours: []string{"core", "core/plugin"}},

	// Where jobs are kept.
	"core/jobs/riverstore": {ours: []string{"core", "core/jobs"}},

	// What the schedule would have made of a day.
	"core/sched/replay": {ours: []string{"core", "core/sched"}},

	// The wire.
	"core/plugin":              {ours: []string{"core", "core/plugin/pluginpb"}},
	"core/plugin/pluginpb":     {},
	"core/plugin/pluginpb/gen": {},

	// What introduces the rooms to each other, and what talks to the user.
	"core/daemon": {ours: []string{
		"core", "core/api", "core/config", "core/events", "core/inventory", "core/jobs", "core/jobs/riverstore", "core/outbox",
		"core/plugin", "core/plugin/host", "core/sched",
	}},
	"cmd/foreman": {ours: []string{"core", "core/api", "core/config", "core/daemon", "core/plugin", "core/sched", "core/sched/replay",
		"plugins/notify", "plugins/ollama", "plugins/openai", "plugins/sim"}},

	// What talks to the world: it stands outside, as anybody's plugin does.
	"plugins/ollama":          {ours: []string{"core", "core/plugin", "plugins/internal/target"}},
	"plugins/openai":          {ours: []string{"core", "core/plugin", "plugins/internal/target"}},
	"plugins/sim":             {ours: []string{"core", "core/plugin"}},
	"plugins/notify":          {ours: []string{"core", "core/plugin"}},
	"plugins/internal/target": {ours: []string{"core"}},

	// For tests.
	"core/plugin/plugintest": {ours: []string{"core", "core/plugin", "core/plugin/host", "core/plugin/pluginpb"}, testOnly: true},
	"core/jobs/jobstest":     {ours: []string{"core", "core/jobs"}, testOnly: true},
	"core/testkit":           {ours: []string{"testdata/mkgguf"}, testOnly: true},
}

type layer struct {
	ours     []string // packages of this module that it may import
	outside  []string // modules that it may import, for core alone: it stays small
	testOnly bool     // no other package imports it, and it may import testing
}

func TestLayers(t *testing.T) {
	imports := productImports(t)
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		rule, known := layers[pkg]
		if !known {
			t.Errorf("%s is new: say in the table of core/layers_test.go what it may import, and draw it in core/doc.go", pkg)
			continue
		}
		for path, file := range imports[pkg] {
			if complaint := rule.complaint(pkg, path); complaint != "" {
				t.Errorf("%s imports %s: %s", file, strings.TrimPrefix(path, module), complaint)
			}
		}
	}
	for pkg := range layers {
		if imports[pkg] == nil {
			t.Errorf("%s is in the table of core/layers_test.go and nowhere else: take its row out", pkg)
		}
	}
}

// complaint says what to do about an import that the rule forbids, or "".
func (l layer) complaint(pkg, path string) string {
	ours, isOurs := strings.CutPrefix(path, module)
	switch {
	case path == "testing" || strings.HasPrefix(path, "testing/"):
		if !l.testOnly {
			return "move it to a _test.go file"
		}
	case isOurs && slices.Contains(l.ours, ours):
	case isOurs && layers[ours].testOnly:
		return "only tests may: move it to a _test.go file"
	case isOurs:
		return "no such arrow. Rooms meet in core/daemon, which hands one what it needs of another as a value, " +
			"a func or a small interface. If the arrow is right, add it to the table here and to the picture in core/doc.go"
	case pkg == "core" && strings.Contains(path, ".") && !slices.Contains(l.outside, path):
		return "core is values and rules on the standard library. Do it in the room that needs it"
	}
	return ""
}

// productImports maps each package of the module to what its files other than
// tests import, and each import to one file that does, whatever system the
// file is for. It reads the files itself: what a `go list` child reads is
// hidden from Go's test cache, which then reports a stale ok.
func productImports(t *testing.T) map[string]map[string]string {
	t.Helper()
	const root = ".."
	imports := map[string]map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (name == "testdata" || name == "bin" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		return addImports(imports, root, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}

func addImports(imports map[string]map[string]string, root, path string) error {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	pkg := filepath.ToSlash(filepath.Dir(rel))
	if imports[pkg] == nil {
		imports[pkg] = map[string]string{}
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		imports[pkg][imported] = filepath.ToSlash(rel)
	}
	return nil
}
