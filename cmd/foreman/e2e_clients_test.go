//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/testkit"
)

// clientsDir has the official JavaScript clients' versions, and what is done
// with them.
var clientsDir = filepath.Join("..", "..", "testdata", "clients")

// installTimeout is for npm; it is done once for each package-lock.json.
const installTimeout = 45 * time.Second

// A told is what a user of the clients gets.
type told struct {
	Answers map[string]map[string]any
	Missing map[string]failure // by what was called
}

type failure struct {
	Name, Message string // the error's
	Status        int
}

func TestE2EOfficialClients(t *testing.T) {
	ollamaBin(t)
	script := installClients(t)
	o, f := bringUp(t)
	want, got := runClients(t, script, o.URL), runClients(t, script, f.URL)
	for api, calls := range want.Answers {
		for call, answer := range calls {
			mustEqual(t, api+" "+call, answer, got.Answers[api][call])
		}
	}
	for call, direct := range want.Missing {
		named := got.Missing[call]
		if named.Name != direct.Name || named.Status != 404 || direct.Status != 404 {
			t.Errorf("%s of a missing model fails with %+v, and directly with %+v", call, named, direct)
		}
		if !strings.Contains(named.Message, "model 'tinny' not found; did you mean 'tiny") {
			t.Errorf("%s of a missing model says %q", call, named.Message)
		}
	}
	if len(want.Missing) == 0 || len(want.Answers["ollama"]) == 0 || len(want.Answers["openai"]) == 0 {
		t.Errorf("the script did nothing: %+v", want)
	}
}

// installClients returns the script, in a place where node finds the clients.
func installClients(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	linkNodeModules(t, clientsDir, dir)
	return copyFile(t, filepath.Join(clientsDir, "stock.mjs"), dir)
}

// linkNodeModules has node find, from dir, what the package-lock.json in from
// lists. It skips the test where that can't be had.
func linkNodeModules(t *testing.T, from, dir string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs node and npm: %v", err)
		}
	}
	lock, err := os.ReadFile(filepath.Join(from, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	installed := filepath.Join("..", "..", "bin", filepath.Base(from)+"-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(installed); err != nil {
		npmInstall(t, from, installed)
	}
	modules, err := filepath.Abs(filepath.Join(installed, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
}

// npmInstall makes dir with the modules that from lists, all or nothing.
func npmInstall(t *testing.T, from, dir string) {
	t.Helper()
	bin := filepath.Dir(dir)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(bin, "npm-install")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		copyFile(t, filepath.Join(from, name), tmp)
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
	npm.Dir, npm.WaitDelay = tmp, time.Second
	if said, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm can't install %s here: %v\n%s", filepath.Base(from), err, said)
	}
	if err := os.Rename(tmp, dir); err != nil && !os.IsExist(err) { // another test process was faster
		t.Fatal(err)
	}
}

// copyFile copies a file into a directory, and returns where it is there.
func copyFile(t *testing.T, file, to string) (path string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(to, filepath.Base(file))
	if err := os.WriteFile(path, text, info.Mode()); err != nil {
		t.Fatal(err)
	}
	return path
}

func runClients(t *testing.T, script, url string) (all told) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	node := exec.CommandContext(ctx, "node", script, url)
	node.Env = []string{"PATH=" + os.Getenv("PATH")} // no proxy, no key of the user's
	var words bytes.Buffer
	node.Stderr, node.WaitDelay = &words, time.Second
	out, err := node.Output()
	if err != nil {
		t.Fatalf("the clients against %s: %v\n%s", url, err, words.Bytes())
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("the clients against %s: %v\n%s", url, err, out)
	}
	return all
}

func TestE2EStockRunAndStop(t *testing.T) {
	o, f := bringUp(t)
	run := func(url string, args ...string) string {
		t.Helper()
		out, words, err := o.Run(url, args...)
		if err != nil {
			t.Errorf("ollama %q against %s: %v\n%s%s", args, url, err, out, words)
		}
		return out
	}
	resident := func() []string {
		t.Helper()
		var names []string
		for _, line := range strings.Split(strings.TrimSpace(run(f.URL, "ps")), "\n")[1:] {
			names = append(names, strings.Fields(line)[0])
		}
		slices.Sort(names)
		return names
	}
	for _, args := range [][]string{{"run", "tiny", "why"}, {"run", "me/tiny:v1", "why", "--keepalive", "5m"}} {
		want, got := run(o.URL, args...), run(f.URL, args...)
		mustEqual(t, fmt.Sprintf("ollama %q", args), want, got)
		if !strings.Contains(got, "rayleigh") {
			t.Errorf("ollama %q prints %q", args, got)
		}
	}
	run(f.URL, "run", "tiny-loop", "") // loads it
	mustEqual(t, "ollama ps", []string{"tiny-loop:latest", "tiny:latest"}, resident())
	run(f.URL, "stop", "tiny")
	took := testkit.Await(t, soon, "tiny is unloaded", func() error {
		if names := resident(); !slices.Equal(names, []string{"tiny-loop:latest"}) {
			return fmt.Errorf("ollama ps: %v", names)
		}
		return nil
	})

	t.Logf("ollama ps shows the stop after %v", took)

	// Up to 0.6 it says that the model can't generate, in its own words.
	want, wantWords, wantErr := o.Run(o.URL, "run", "tiny-embed", "why")
	got, gotWords, gotErr := o.Run(f.URL, "run", "tiny-embed", "why")
	mustEqual(t, "ollama run tiny-embed", []any{want, wantWords, wantErr == nil}, []any{got, gotWords, gotErr == nil})

	for command, says := range map[string]string{
		"stop": `couldn't find model "tinny" to stop`,
		"show": "model 'tinny' not found; did you mean 'tiny:latest'",
		"run":  "did you mean 'tiny:latest'", // it would pull it
	} {
		if _, words, err := o.Run(f.URL, command, "tinny"); err == nil || !strings.Contains(words, says) {
			t.Errorf("ollama %s tinny: %v, and says %q", command, err, words)
		}
	}
}
