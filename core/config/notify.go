package config

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Notify is [notify]: who is told what happens.
type Notify struct {
	Settle int                 `toml:"settle"`  // successful looks in a row until a change of the models counts
	Named  map[string]Notifier `toml:",inline"` // [notify.NAME]
}

// A Notifier is [notify.NAME]: one way to tell people.
type Notifier struct {
	Type        string        `toml:"type"`         // log, webhook, command, service; "" if Plugin is set
	Plugin      string        `toml:"plugin"`       // an outside plugin's name, for [Plugins.Notifier]
	Events      []string      `toml:"events"`       // patterns, as of path.Match, of event types
	MinInterval time.Duration `toml:"min_interval"` // between two messages about the target's health; 0 holds none back
	RemindEvery time.Duration `toml:"remind_every"` // while the target is away; 0 is never
	Timeout     time.Duration `toml:"timeout"`      // of one delivery

	// Settings are the JSON object for [core.Notifier]'s Configure. It is
	// secret as a whole, since it holds the secrets of the table. A built-in
	// type gets its keys as they are called in the file, "type" and "name".
	Settings Secret
}

var notifierTypes = []string{"log", "webhook", "command", "service"}

// notifierKeys says whose a key is that not every notifier has.
var notifierKeys = []struct{ key, owner string }{
	{"url", `type = "webhook" or "service"`},
	{"secret", `type = "webhook"`},
	{"allow_private", `type = "webhook"`},
	{"argv", `type = "command"`},
	{"settings", `plugin = "NAME"`},
}

// notify reads settle, and takes every table beside it for a notifier.
func (r *reader) notify(t *table, n *Notify) {
	set(t, "settle", &n.Settle, count(1))
	for _, name := range t.others() {
		notifier := r.notifier(t.table(name), name)
		if !IsPluginName(name) {
			t.doc.fail(t.at(name), fmt.Errorf("%q can't name a notifier; use a to z, 0 to 9, - and _", name))
		}
		if n.Named == nil {
			n.Named = map[string]Notifier{}
		}
		n.Named[name] = notifier
	}
	t.done()
}

func (r *reader) notifier(t *table, name string) Notifier {
	n := Notifier{
		Events:      []string{string(core.EventDegraded), string(core.EventRecovered)},
		MinInterval: 5 * time.Minute,
		Timeout:     10 * time.Second,
	}
	set(t, "type", &n.Type, oneOf(notifierTypes...))
	set(t, "plugin", &n.Plugin, pluginName)
	switch byType, byPlugin := t.has("type"), t.has("plugin"); {
	case byType && byPlugin:
		t.doc.fail(t.at("plugin"), errors.New("a notifier has either a type or a plugin; remove one"))
	case !byType && !byPlugin:
		t.doc.fail(t.key, fmt.Errorf(`needs a type (%s), or plugin = "NAME" for somebody else's`, strings.Join(notifierTypes, ", ")))
	}
	set(t, "events", &n.Events, events)
	set(t, "min_interval", &n.MinInterval, duration(0))
	set(t, "remind_every", &n.RemindEvery, remindEvery)
	set(t, "timeout", &n.Timeout, duration(100*time.Millisecond))
	n.Settings = r.notifierSettings(t, n, name)
	r.refuseForeign(t, n)
	t.done()
	return n
}

// notifierSettings reads what only n's type, or its plugin, has.
func (r *reader) notifierSettings(t *table, n Notifier, name string) Secret {
	if n.Plugin != "" {
		object := json.RawMessage("{}")
		set(t, "settings", &object, settings)
		return NewSecret(string(object))
	}
	own := struct {
		Type         string   `json:"type"`
		Name         string   `json:"name"`
		URL          string   `json:"url,omitempty"`
		Secret       string   `json:"secret,omitempty"`
		AllowPrivate bool     `json:"allow_private,omitempty"`
		Argv         []string `json:"argv,omitempty"`
	}{Type: n.Type, Name: name}
	var needs string
	var target, secret Secret
	switch n.Type {
	case "webhook":
		needs = "url"
		set(t, "url", &target, r.webhookURL)
		set(t, "secret", &secret, r.webhookSecret)
		set(t, "allow_private", &own.AllowPrivate, flag)
	case "service":
		needs = "url"
		set(t, "url", &target, r.serviceURL)
	case "command":
		needs = "argv"
		set(t, "argv", &own.Argv, argv)
	}
	if needs != "" && !t.has(needs) {
		t.doc.fail(t.key, fmt.Errorf("type = %q needs %s", n.Type, needs))
	}
	own.URL, own.Secret = target.Reveal(), secret.Reveal()
	object, err := json.Marshal(own)
	if err != nil {
		panic(err) // strings and a flag always have JSON
	}
	return NewSecret(string(object))
}

// refuseForeign refuses the keys that are for other notifiers than n. Where it
// isn't clear what n is, that is told and no more.
func (r *reader) refuseForeign(t *table, n Notifier) {
	for _, k := range notifierKeys {
		if !t.has(k.key) || slices.Contains(t.known, k.key) {
			continue
		}
		t.known = append(t.known, k.key)
		if n.Type != "" || n.Plugin != "" {
			t.doc.fail(t.at(k.key), fmt.Errorf("is for %s", k.owner))
		}
	}
}

// events takes patterns that match an event there is.
func events(v any) ([]string, error) {
	list, err := listOf("degraded", eventPattern)(v)
	if err == nil && len(list) == 0 {
		err = errors.New("is empty, which tells nobody anything; remove the line for the default")
	}
	return list, err
}

func eventPattern(s string) (string, error) {
	if _, err := path.Match(s, ""); err != nil {
		return "", fmt.Errorf(`%q isn't a pattern; write it like "model_*"`, s)
	}
	var known []string
	for _, kind := range core.EventTypes() {
		if kind.Matches(s) {
			return s, nil
		}
		known = append(known, string(kind))
	}
	if near := core.Near(s, known); len(near) > 0 {
		return "", fmt.Errorf("no event is called %q; did you mean %q?", s, near[0])
	}
	return "", fmt.Errorf("no event is called %q; there are %s", s, strings.Join(known, ", "))
}

func remindEvery(v any) (time.Duration, error) {
	d, err := duration(0)(v)
	if err == nil && 0 < d && d < time.Second {
		err = fmt.Errorf(`%q is too short; the least is "1s", and "0s" is never`, d)
	}
	return d, err
}

// webhookURL doesn't repeat what it refuses: the path of such a URL often is
// its secret.
func (r *reader) webhookURL(v any) (Secret, error) {
	s, err := r.secret(v)
	if err != nil {
		return Secret{}, err
	}
	u, err := url.Parse(s.Reveal())
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !isPort(u.Port()) {
		return Secret{}, errors.New(`isn't an http or https URL; write it like "https://ops.example/hook"`)
	}
	return s, nil
}

// serviceURL leaves it to the plugin to know its services, and doesn't repeat
// what it refuses.
func (r *reader) serviceURL(v any) (Secret, error) {
	s, err := r.secret(v)
	if err != nil {
		return Secret{}, err
	}
	u, err := url.Parse(s.Reveal())
	switch {
	case err != nil || u.Scheme == "" || u.Opaque != "":
		return Secret{}, errors.New(`isn't the URL of a service; write it like "ntfy://ntfy.sh/topic"`)
	case u.Scheme == "http" || u.Scheme == "https":
		return Secret{}, errors.New(`is a web address, for type = "webhook"; a service's begins with its name, like "ntfy://ntfy.sh/topic"`)
	}
	return s, nil
}

// leastKey is what the Standard Webhooks specification asks for, in bytes.
const leastKey = 24

func (r *reader) webhookSecret(v any) (Secret, error) {
	s, err := r.secret(v)
	if err != nil {
		return Secret{}, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Reveal(), "whsec_"))
	switch {
	case err != nil:
		return Secret{}, errors.New(`isn't base64, which may follow "whsec_"; "openssl rand -base64 32" makes one`)
	case len(key) < leastKey:
		return Secret{}, fmt.Errorf(`is base64 of %d bytes; the least is %d, and "openssl rand -base64 32" makes one`, len(key), leastKey)
	}
	return s, nil
}

// argv takes a program and its arguments, which may be empty.
func argv(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf(`must be a list such as ["/usr/local/bin/tell", "--loud"], not %s`, kind(v))
	}
	var words []string
	for _, entry := range list {
		s, ok := entry.(string)
		switch {
		case !ok:
			return nil, fmt.Errorf("an entry must be a string, in quotes, not %s", kind(entry))
		case strings.ContainsRune(s, 0):
			return nil, errors.New("an entry holds a zero byte, which no program takes")
		}
		words = append(words, s)
	}
	switch {
	case len(words) == 0 || words[0] == "":
		return nil, errors.New("needs a program first")
	case !filepath.IsAbs(words[0]) && strings.ContainsAny(words[0], `/\`):
		return nil, fmt.Errorf("%q must be an absolute path, or a name that is on the PATH", words[0])
	}
	return words, nil
}
