package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// The backends that foreman brings along.
const (
	ollama = "ollama"
	openai = "openai"
	sim    = "sim"
)

var builtin = []string{ollama, openai, sim}

// BuiltIn reports whether foreman itself serves the backend of that name.
func BuiltIn(backend string) bool { return slices.Contains(builtin, backend) }

// A reader turns a document into a [Config]. Each of its methods that takes a
// table knows all keys of that table.
type reader struct {
	doc    *document
	getenv func(string) string
	dir    string   // where relative paths start
	read   *reading // gets what files were read
}

func (r *reader) config() Config {
	c := Default(r.getenv)
	root := &table{doc: r.doc, values: r.doc.tree}
	r.server(root.table("server"), &c.Server)
	r.target(root.table("target"), &c.Target)
	r.poll(root.table("poll"), &c.Poll)
	r.admission(root.table("admission"), &c.Admission)
	r.retry(root.table("retry"), &c.Retry)
	r.schedule(root.table("schedule"), &c.Schedule)
	r.jobs(root.table("jobs"), &c.Jobs)
	r.log(root.table("log"), &c.Log)
	r.notify(root.table("notify"), &c.Notify)
	r.plugins(root.table("plugins"), &c.Plugins)
	root.done()
	return c
}

func (r *reader) server(t *table, s *Server) {
	set(t, "listen", &s.Listen, listen)
	set(t, "state_dir", &s.StateDir, r.path)
	set(t, "openai", &s.OpenAI, flag)
	set(t, "management", &s.Management, flag)
	set(t, "allowed_hosts", &s.AllowedHosts, listOf("foreman.lan", allowedHost))
	set(t, "allowed_origins", &s.AllowedOrigins, listOf("https://app.example", origin))
	set(t, "max_body", &s.MaxBody, size(1<<10))
	set(t, "max_connections", &s.MaxConnections, count(1))
	set(t, "insecure", &s.Insecure, flag)
	r.tls(t.table("tls"), &s.TLS)
	tokens := t.table("tokens")
	for name := range tokens.values {
		var token Secret
		set(tokens, name, &token, r.secret)
		if s.Tokens == nil {
			s.Tokens = map[string]Secret{}
		}
		s.Tokens[name] = token
	}
	t.done()
}

func (r *reader) tls(t *table, files *TLS) {
	set(t, "cert", &files.Cert, r.path)
	set(t, "key", &files.Key, r.path)
	set(t, "client_ca", &files.ClientCA, r.path)
	t.done()
}

func (r *reader) target(t *table, target *Target) {
	set(t, "backend", &target.Backend, pluginName)
	if target.Backend != ollama {
		target.URL = "" // the default is where an Ollama is
	}
	set(t, "url", &target.URL, baseURL)
	set(t, "token", &target.Token, r.secret)
	t.done()
}

func (r *reader) poll(t *table, p *Poll) {
	set(t, "interval", &p.Interval, duration(time.Second))
	set(t, "timeout", &p.Timeout, duration(100*time.Millisecond))
	set(t, "jitter", &p.Jitter, number(0, 0.5))
	set(t, "fast_interval", &p.FastInterval, duration(100*time.Millisecond))
	set(t, "down_interval", &p.DownInterval, duration(100*time.Millisecond))
	set(t, "fall", &p.Fall, count(1))
	set(t, "rise", &p.Rise, count(1))
	t.done()
}

func (r *reader) admission(t *table, a *Admission) {
	set(t, "allow", &a.Allow, listOf("alias-*", pattern))
	t.done()
}

func (r *reader) retry(t *table, retry *Retry) {
	set(t, "max_wait", &retry.MaxWait, duration(0))
	set(t, "max_age", &retry.MaxAge, duration(time.Second))
	t.done()
}

func (r *reader) schedule(t *table, s *Schedule) {
	set(t, "parallel", &s.Parallel, count(1))
	set(t, "max_stint", &s.MaxStint, duration(time.Second))
	set(t, "linger", &s.Linger, duration(0))
	set(t, "beside", &s.Beside, listOf("nomic-embed-text*", pattern))
	set(t, "max_waiting", &s.MaxWaiting, count(1))
	t.done()
}

func (r *reader) jobs(t *table, j *Jobs) {
	set(t, "ttl", &j.TTL, duration(time.Minute))
	set(t, "max_attempts", &j.MaxAttempts, count(1))
	set(t, "max_run", &j.MaxRun, duration(time.Second))
	set(t, "max_queued", &j.MaxQueued, count(1))
	set(t, "webhooks", &j.Webhooks, flag)
	set(t, "webhook_secret", &j.WebhookSecret, r.webhookSecret)
	set(t, "allow_private", &j.AllowPrivate, flag)
	t.done()
}

func (r *reader) log(t *table, l *Log) {
	set(t, "level", &l.Level, oneOf("debug", "info", "warn", "error"))
	set(t, "format", &l.Format, oneOf("text", "json"))
	t.done()
}

// plugins reads dir, and takes every table beside it for a plugin.
func (r *reader) plugins(t *table, p *Plugins) {
	set(t, "dir", &p.Dir, r.path)
	for _, name := range t.others() {
		plugin := r.plugin(t.table(name))
		if _, err := pluginName(name); err != nil {
			t.doc.fail(t.at(name), err)
		}
		if BuiltIn(name) {
			t.doc.fail(t.at(name), errors.New("is built in; call yours something else"))
		}
		if p.Outside == nil {
			p.Outside = map[string]Plugin{}
		}
		p.Outside[name] = plugin
	}
	t.done()
}

func (r *reader) plugin(t *table) Plugin {
	var p Plugin
	set(t, "path", &p.Path, absolute)
	set(t, "sha256", &p.SHA256, func(v any) (string, error) {
		s, err := text(v)
		if err == nil && !sha256Hex.MatchString(s) {
			err = errors.New("must be 64 hex digits, as sha256sum prints them")
		}
		return strings.ToLower(s), err
	})
	set(t, "settings", &p.Settings, settings)
	t.done()
	return p
}

// settings are what foreman doesn't know the keys of, for a plugin.
func settings(v any) (json.RawMessage, error) {
	values, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("must be a table, not %s", kind(v))
	}
	object, err := json.Marshal(values)
	if err != nil {
		return nil, errors.New("the plugin gets JSON, which has no inf and no nan")
	}
	return object, nil
}

var sha256Hex = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// checkTogether checks what no key shows by itself.
func (r *reader) checkTogether(c Config) {
	if err := c.Server.checkOpen(); err != nil {
		r.doc.fail([]string{"server", "listen"}, err)
	}
	if files := c.Server.TLS; files != (TLS{}) && (files.Cert == "" || files.Key == "") {
		r.doc.fail([]string{"server", "tls"}, errors.New("needs both cert and key"))
	}
	if c.Server.StateDir == "" {
		r.doc.fail([]string{"server", "state_dir"},
			errors.New("neither $XDG_STATE_HOME nor $HOME is set; set state_dir"))
	}
	// Of a URL in the file this is known already: then it is about the environment.
	if c.Target.URL != "" {
		if _, err := baseURL(c.Target.URL); err != nil {
			r.doc.fail([]string{"target", "url"}, fmt.Errorf("$OLLAMA_HOST %w", err))
		}
	}
	if name := c.Target.Backend; !BuiltIn(name) && !c.Plugins.has("backend", name) {
		r.doc.fail([]string{"target", "backend"}, c.Plugins.missing("backend", name, builtin))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Notify.Named)) {
		if plugin := c.Notify.Named[name].Plugin; plugin != "" {
			r.checkNotifier(name, plugin, c)
		}
	}
}

// checkNotifier checks what the table [notify.name] says of plugin.
func (r *reader) checkNotifier(name, plugin string, c Config) {
	switch {
	case !c.Plugins.has("notifier", plugin):
		r.doc.fail([]string{"notify", name, "plugin"}, c.Plugins.missing("notifier", plugin, nil))
	case c.Plugins.Outside[plugin].Settings != nil && plugin != c.Target.Backend:
		r.doc.fail([]string{"plugins", plugin, "settings"},
			fmt.Errorf("what a notifier gets is its own: move it to [notify.%s.settings]", name))
	}
}

// has reports whether there is a table with a path for the plugin, or an
// executable in the plugin directory.
func (p Plugins) has(kind, name string) bool {
	path := p.find(kind, name).Path
	return p.Outside[name].Path != "" || path != "" && exists(path)
}

// missing says that no plugin of that kind has that name, nor is any of
// builtin it.
func (p Plugins) missing(kind, name string, builtin []string) error {
	var hint string
	if _, declared := p.Outside[name]; !declared {
		names := slices.Concat(builtin, slices.Sorted(maps.Keys(p.Outside)))
		if near := core.Near(name, names); len(near) > 0 {
			hint = fmt.Sprintf("; did you mean %q?", near[0])
		}
	}
	if kind == "notifier" && slices.Contains(notifierTypes, name) {
		hint = fmt.Sprintf("; did you mean type = %q?", name)
	}
	return fmt.Errorf("there is no %s %q%s (a plugin needs its path under [plugins.%s], or foreman-%s-%s in plugins.dir)",
		kind, name, hint, name, kind, name)
}
