package config_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-af7fee88/foreman/core/config"
)

const (
	fullFile    = "../../testdata/config/full.toml"
	exampleFile = "../../foreman.toml.example"
)

// whatItSays compares configurations but for where they were read.
var whatItSays = cmpopts.IgnoreUnexported(config.Config{})

// environ is a getenv of pairs, with a home.
func environ(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		if name == "HOME" {
			return "/home/alice"
		}
		return ""
	}
}

func TestNoFileMeansDefaults(t *testing.T) {
	got, err := config.Load("", environ())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Server: config.Server{
			Listen:         "127.0.0.1:11435",
			StateDir:       "/home/alice/.local/state/foreman",
			OpenAI:         true,
			MaxBody:        64 << 20,
			MaxConnections: 1024,
		},
		Target: config.Target{Backend: "ollama", URL: "http://127.0.0.1:11434"},
		Poll: config.Poll{
			Interval: 30 * time.Second, Timeout: 5 * time.Second, Jitter: 0.1,
			FastInterval: 2 * time.Second, DownInterval: time.Second, Fall: 3, Rise: 2,
		},
		Retry: config.Retry{MaxWait: time.Minute, MaxAge: 24 * time.Hour},
		Schedule: config.Schedule{
			Parallel: 1, MaxStint: 5 * time.Minute, Linger: 20 * time.Second, MaxWaiting: 256,
		},
		Jobs:    config.Jobs{TTL: 24 * time.Hour, MaxAttempts: 3, MaxRun: 2 * time.Hour, MaxQueued: 100_000},
		Log:     config.Log{Level: "info", Format: "text"},
		Notify:  config.Notify{Settle: 2},
		Plugins: config.Plugins{Dir: "/home/alice/.local/share/foreman/plugins"},
	}
	if diff := cmp.Diff(want, got, whatItSays); diff != "" {
		t.Error(diff)
	}
}

// usual are the events that a notifier gets where the file doesn't say.
var usual = []string{"degraded", "recovered"}

func TestEveryKeyIsRead(t *testing.T) {
	got, err := config.Load(fullFile, environ("BOB_TOKEN", "bob-secret", "TARGET_TOKEN", "target-secret"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Server: config.Server{
			Listen:         "0.0.0.0:80",
			StateDir:       filepath.Join(filepath.Dir(fullFile), "state"),
			Management:     true,
			AllowedHosts:   []string{"foreman.lan", "fd00::1"},
			AllowedOrigins: []string{"https://app.example", "http://localhost:3000"},
			MaxBody:        1_000_000,
			MaxConnections: 10,
			Tokens: map[string]config.Secret{
				"alice": config.NewSecret("alice-secret"),
				"bob":   config.NewSecret("bob-secret"),
				"carol": config.NewSecret("carol-secret"),
			},
			Insecure: true,
			TLS: config.TLS{
				Cert:     filepath.Join(filepath.Dir(fullFile), "tls/foreman.crt"),
				Key:      "/etc/foreman/foreman.key",
				ClientCA: filepath.Join(filepath.Dir(fullFile), "callers.crt"),
			},
		},
		Target: config.Target{
			Backend: "vllm", URL: "https://gpu.lan:8443/ollama", Token: config.NewSecret("target-secret"),
		},
		Poll: config.Poll{
			Interval: 90 * time.Second, Timeout: 100 * time.Millisecond, Jitter: 0,
			FastInterval: 3 * time.Second, DownInterval: 1500 * time.Millisecond, Fall: 1, Rise: 1,
		},
		Admission: config.Admission{Allow: []string{"alias-*", "me/*"}},
		Retry:     config.Retry{MaxWait: 0, MaxAge: time.Hour},
		Schedule: config.Schedule{
			Parallel: 4, MaxStint: 90 * time.Second, Beside: []string{"nomic-*"}, MaxWaiting: 10,
		},
		Jobs: config.Jobs{
			TTL: 7 * 24 * time.Hour, MaxAttempts: 1, MaxRun: 90 * time.Minute, MaxQueued: 50, Webhooks: true,
			WebhookSecret: config.NewSecret("whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"), AllowPrivate: true,
		},
		Log: config.Log{Level: "debug", Format: "json"},
		Notify: config.Notify{Settle: 5, Named: map[string]config.Notifier{
			"ops": {
				Type: "webhook", Events: []string{"model_*", "config_rejected"},
				MinInterval: 0, RemindEvery: time.Hour, Timeout: 2 * time.Second,
				Settings: config.NewSecret(`{"type":"webhook","name":"ops","url":"https://user:hunter2@ops.example/hook/T0?a=b",` +
					`"secret":"whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u","allow_private":true}`),
			},
			"chat": {
				Type: "service", Events: usual, MinInterval: 5 * time.Minute, Timeout: 10 * time.Second,
				Settings: config.NewSecret(`{"type":"service","name":"chat",` +
					`"url":"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@ops"}`),
			},
			"pager": {
				Type: "command", Events: usual, MinInterval: 5 * time.Minute, Timeout: 10 * time.Second,
				Settings: config.NewSecret(`{"type":"command","name":"pager","argv":["page","--note",""]}`),
			},
			"journal": {
				Type: "log", Events: usual, MinInterval: 5 * time.Minute, Timeout: 10 * time.Second,
				Settings: config.NewSecret(`{"type":"log","name":"journal"}`),
			},
			"lamp": {
				Plugin: "lamp", Events: usual, MinInterval: 5 * time.Minute, Timeout: 10 * time.Second,
				Settings: config.NewSecret(`{"color":"red"}`),
			},
		}},
		Plugins: config.Plugins{
			Dir: "/usr/lib/foreman",
			Outside: map[string]config.Plugin{
				"vllm": {
					Path:     "/opt/foreman-backend-vllm",
					SHA256:   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
					Settings: json.RawMessage(`{"nested":{"deep":true},"region":"eu","sizes":[1,2]}`),
				},
				"lamp": {Path: "/opt/foreman-notifier-lamp"},
			},
		},
	}
	if diff := cmp.Diff(want, got, whatItSays); diff != "" {
		t.Error(diff)
	}
	sameFields(t, "Config", reflect.ValueOf(config.Default(environ())), reflect.ValueOf(got))
}

// sameFields reports the fields that full.toml leaves at their defaults: none
// should be, or a field that nothing sets would go unnoticed.
func sameFields(t *testing.T, name string, a, b reflect.Value) {
	t.Helper()
	if a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[config.Secret]() {
		for i := range a.NumField() {
			if !a.Type().Field(i).IsExported() {
				continue
			}
			sameFields(t, name+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
		return
	}
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		t.Errorf("%s has its default in %s", name, fullFile)
	}
}

func TestExampleIsTheDefaults(t *testing.T) {
	got, err := config.Load(exampleFile, environ())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(environ()), got, whatItSays); diff != "" {
		t.Error(diff)
	}
}

// A setting that is commented out has no space after its "#".
var commentedOut = regexp.MustCompile(`(?m)^#(\S)`)

func TestExampleUncommented(t *testing.T) {
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	text := commentedOut.ReplaceAllString(string(data), "$1")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bob.token"), []byte("bob-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(filepath.Join(dir, "foreman.toml"), []byte(text),
		environ("ALICE_TOKEN", "alice-secret", "OLLAMA_TOKEN", "target-secret",
			"JOBS_SECRET", "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u", "OPS_SECRET", "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u", "CHAT_URL", "ntfy://ntfy.sh/ops"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default(environ())
	want.Server.StateDir = "/var/lib/foreman"
	want.Server.Tokens = map[string]config.Secret{
		"alice": config.NewSecret("alice-secret"), "bob": config.NewSecret("bob-secret"),
	}
	want.Server.TLS = config.TLS{
		Cert: filepath.Join(dir, "foreman.crt"), Key: filepath.Join(dir, "foreman.key"), ClientCA: filepath.Join(dir, "callers.crt"),
	}
	want.Target.URL = "http://192.168.1.20:11434"
	want.Target.Token = config.NewSecret("target-secret")
	want.Jobs.WebhookSecret = config.NewSecret("MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u")
	want.Plugins.Dir = "/usr/local/lib/foreman/plugins"
	want.Plugins.Outside = map[string]config.Plugin{
		"mybackend": {
			Path:     "/opt/mybackend/foreman-backend-mybackend",
			SHA256:   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			Settings: json.RawMessage(`{"region":"eu"}`),
		},
		"mynotifier": {Path: "/opt/mynotifier/foreman-notifier-mynotifier"},
	}
	for name, settings := range map[string]string{
		"ops":   `{"type":"webhook","name":"ops","url":"https://ops.example/hook","secret":"MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"}`,
		"pager": `{"type":"command","name":"pager","argv":["/usr/local/bin/page","--group","gpu"]}`,
		"chat":  `{"type":"service","name":"chat","url":"ntfy://ntfy.sh/ops"}`,
		"lamp":  `{"color":"red"}`,
	} {
		// What the example says of one holds for the others by default.
		n := config.Notifier{Events: usual, MinInterval: 5 * time.Minute, Timeout: 10 * time.Second, Settings: config.NewSecret(settings)}
		n.Type = map[string]string{"ops": "webhook", "pager": "command", "chat": "service"}[name]
		if name == "lamp" {
			n.Plugin = "mynotifier"
		}
		if want.Notify.Named == nil {
			want.Notify.Named = map[string]config.Notifier{}
		}
		want.Notify.Named[name] = n
	}
	if diff := cmp.Diff(want, got, whatItSays); diff != "" {
		t.Error(diff)
	}

	full, err := os.ReadFile(fullFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys(t, string(full)), keys(t, text)); diff != "" {
		t.Errorf("keys of full.toml (-) and of the example (+):\n%s", diff)
	}
}

// keys are the keys of a file in order of the alphabet, down to what is below
// a name that users choose.
func keys(t *testing.T, text string) []string {
	t.Helper()
	md, err := toml.Decode(text, new(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, k := range md.Keys() {
		switch {
		case len(k) > 1 && (k[0] == "plugins" && k[1] != "dir" || k[0] == "notify" && k[1] != "settle"):
			k = append(toml.Key{k[0], "NAME"}, k[2:min(3, len(k))]...)
		case len(k) > 1 && k[1] != "tls":
			k = k[:2]
		}
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func TestURLFollowsTheBackend(t *testing.T) {
	tests := []struct{ text, ollamaHost, want string }{
		{``, "", "http://127.0.0.1:11434"},
		{``, "gpu.lan", "http://gpu.lan:11434"},
		{`target.url = "http://here:1"`, "gpu.lan", "http://here:1"},
		{`target.backend = "sim"`, "gpu.lan", ""},
		{`target.backend = "sim"`, "ftp://not.read", ""},
		{"[target]\nurl = \"http://127.0.0.1:7777\"\nbackend = \"sim\"", "", "http://127.0.0.1:7777"},
		{`target.url = "http://here:1"`, "ftp://not.read", "http://here:1"},
	}
	for _, tt := range tests {
		c, err := config.Parse("foreman.toml", []byte(tt.text), environ("OLLAMA_HOST", tt.ollamaHost))
		if err != nil || c.Target.URL != tt.want {
			t.Errorf("with %q and OLLAMA_HOST=%q the url is %q, %v; want %q",
				tt.text, tt.ollamaHost, c.Target.URL, err, tt.want)
		}
	}
}

func TestAllowedOrigins(t *testing.T) {
	for _, origin := range []string{
		"https://app.example", "http://localhost:3000", "http://[::1]:3000", "http://192.168.1.5", "https://app.example:80",
		"app://obsidian.md", "chrome-extension://abcdefghijklmnop",
	} {
		c, err := config.Parse("foreman.toml", []byte("server.allowed_origins = ['"+origin+"']"), environ())
		if err != nil || !slices.Equal(c.Server.AllowedOrigins, []string{origin}) {
			t.Errorf("%s: %q, %v", origin, c.Server.AllowedOrigins, err)
		}
	}
}

func TestBackendFromThePluginDirectory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "foreman-backend-vllm")
	text := []byte("[target]\nbackend = 'vllm'\n[plugins]\ndir = '" + dir + "'\n[plugins.vllm]\nsettings.region = 'eu'")
	_, err := config.Parse("foreman.toml", text, environ())
	want := `foreman.toml:2: target.backend: there is no backend "vllm" ` +
		`(a plugin needs its path under [plugins.vllm], or foreman-backend-vllm in plugins.dir)`
	if err == nil || err.Error() != want {
		t.Errorf("without the executable: %v\nwant %s", err, want)
	}
	if err := os.WriteFile(path, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("foreman.toml", text, environ())
	if err != nil {
		t.Fatal(err)
	}
	plugin := config.Plugin{Path: path, Settings: json.RawMessage(`{"region":"eu"}`)}
	if diff := cmp.Diff(plugin, c.Plugins.Backend("vllm")); diff != "" {
		t.Error(diff)
	}
}

func TestParseLeavesNothingBehind(t *testing.T) {
	first, err := config.Load(fullFile, environ("BOB_TOKEN", "1", "TARGET_TOKEN", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse("", []byte("[poll]\ninterval = 'x'"), environ()); err == nil {
		t.Fatal("a bad file was taken")
	}
	again, err := config.Load(fullFile, environ("BOB_TOKEN", "1", "TARGET_TOKEN", "1"))
	if diff := cmp.Diff(first, again, whatItSays); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	defaults, err := config.Load("", environ())
	if diff := cmp.Diff(config.Default(environ()), defaults, whatItSays); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{fullFile, exampleFile} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, tt := range badFiles {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("foreman.toml", data, environ())
		if err == nil {
			if c.Server.StateDir == "" || c.Poll.Interval < time.Second || c.Poll.Fall < 1 {
				t.Errorf("%+v", c)
			}
			return
		}
		var e *config.Error
		if !errors.As(err, &e) || e.Line < 1 || e.Line > 1+strings.Count(string(data), "\n") || e.Problem == "" {
			t.Errorf("%#v", err)
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q has control characters", err)
		}
	})
}
