package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core/config"
)

const notAnOrigin = `isn't an origin as browsers write it; write it like "https://app.example" or "http://localhost:3000"`

// badFiles are refused with one line after "foreman.toml:".
var badFiles = []struct{ text, want string }{
	// Names that aren't keys.
	{"[poll]\nintervall = '5s'", `2: poll.intervall: unknown key; did you mean "interval"?`},
	{"[poll]\nInterval = '5s'", `2: poll.Interval: unknown key; did you mean "interval"?`},
	{"[poll]\ninterval = '5s'\nINTERVAL = '6s'", `3: poll.INTERVAL: unknown key; did you mean "interval"?`},
	{"poll.intervall = '5s'", `1: poll.intervall: unknown key; did you mean "interval"?`},
	{"\n[pol]\ninterval = '5s'", `2: pol: unknown table; did you mean "poll"?`},
	{"\n\npol.interval = '5s'", `3: pol: unknown table; did you mean "poll"?`},
	{"xyzzy = 5", `1: xyzzy: unknown key; the tables are server, target, poll, admission, retry, schedule, jobs, log, notify, plugins`},
	{"[log]\nxyzzy = 5", `2: log.xyzzy: unknown key; [log] has level, format`},
	{"[log.levels]\na = 1", `1: log.levels: unknown table; did you mean "level"?`},
	{"[poll]\n\"\" = 1", `2: poll."": unknown key; [poll] has interval, timeout, jitter, fast_interval, down_interval, fall, rise`},
	{"[poll]\n\"a\\u001bb\\u202e\" = 1", `2: poll."a\x1bb\u202e": unknown key; [poll] has interval, timeout, jitter, fast_interval, down_interval, fall, rise`},
	{"[plugins]\ndirs = '/x'", `2: plugins.dirs: unknown key; did you mean "dir"?`},
	{"[plugins.x]\nchecksum = '/x'", `2: plugins.x.checksum: unknown key; [plugins.x] has path, sha256, settings`},
	{"log = {levl = 'info',\n  color = true}", `1: log.levl: unknown key; did you mean "level"?`},
	{"\ufeff[poll]\r\nintervall = '5s'\r\n", `2: poll.intervall: unknown key; did you mean "interval"?`},

	// Values of the wrong type.
	{"poll = 5", `1: poll: must be a table, [poll], not a number`},
	{"[[poll]]\nfall = 1", `1: poll: must be a table, [poll], not a list`},
	{"[server]\nlisten = 11435", `2: server.listen: must be a string, in quotes, not a number`},
	{"[server]\nopenai = 'yes'", `2: server.openai: must be true or false, without quotes, not a string`},
	{"[server]\nallowed_hosts = 'a'", `2: server.allowed_hosts: must be a list such as ["foreman.lan"], not a string`},
	{"[server]\nallowed_hosts = ['a',\n5]", `2: server.allowed_hosts: an entry must be a string, in quotes, not a number`},
	{"[server]\ntokens = 'x'", `2: server.tokens: must be a table, [server.tokens], not a string`},
	{"[server]\nmax_body = true", `2: server.max_body: must be a size such as "64MiB", not true or false`},
	{"[poll]\nfall = 2.5", `2: poll.fall: must be a whole number, not a number with a point`},
	{"[poll]\njitter = '10%'", `2: poll.jitter: must be a number from 0 to 0.5, not a string`},
	{"[log]\nlevel = 2026-01-01", `2: log.level: must be a string, in quotes, not a date`},
	{"[plugins.x]\nsettings = []", `2: plugins.x.settings: must be a table, not a list`},
	{"[plugins.x]\n[plugins.x.settings]\na = inf", `2: plugins.x.settings: the plugin gets JSON, which has no inf and no nan`},

	// Durations, sizes and numbers.
	{"[poll]\ninterval = 5", `2: poll.interval: 5 has no unit; write "5s"`},
	{"[poll]\ninterval = 5.0", `2: poll.interval: must be a duration such as "5s" or "1m30s", not a number with a point`},
	{"[poll]\ninterval = '5'", `2: poll.interval: "5" isn't a duration; write it like "5s" or "1m30s"`},
	{"[poll]\ninterval = \"\"\"\n5\n\"\"\"", `2: poll.interval: "5\n" isn't a duration; write it like "5s" or "1m30s"`},
	{"[poll]\ninterval = '999ms'", `2: poll.interval: "999ms" is too short; the least is "1s"`},
	{"[poll]\ninterval = '-1h'", `2: poll.interval: "-1h" is too short; the least is "1s"`},
	{"[jobs]\nmax_run = '0s'", `2: jobs.max_run: "0s" is too short; the least is "1s"`},
	{"[poll]\ntimeout = '99ms'", `2: poll.timeout: "99ms" is too short; the least is "100ms"`},
	{"[poll]\nfast_interval = '0s'", `2: poll.fast_interval: "0s" is too short; the least is "100ms"`},
	{"[poll]\ndown_interval = '5us'", `2: poll.down_interval: "5us" is too short; the least is "100ms"`},
	{"[poll]\njitter = 0.6", `2: poll.jitter: 0.6 is out of range; it goes from 0 to 0.5`},
	{"[poll]\njitter = -1", `2: poll.jitter: -1 is out of range; it goes from 0 to 0.5`},
	{"[poll]\njitter = nan", `2: poll.jitter: NaN is out of range; it goes from 0 to 0.5`},
	{"[poll]\nfall = 0", `2: poll.fall: 0 is out of range; the least is 1`},
	{"[poll]\nrise = -1", `2: poll.rise: -1 is out of range; the least is 1`},
	{"[server]\nmax_body = '64XB'", `2: server.max_body: "64XB" isn't a size; write it like "64MiB"`},
	{"[server]\nmax_body = '99EiB'", `2: server.max_body: "99EiB" isn't a size; write it like "64MiB"`},
	{"[server]\nmax_body = 0", `2: server.max_body: 0 bytes is too small; the least is 1.0 KiB`},

	// Words, addresses, paths.
	{"[log]\nlevel = 'warning'", `2: log.level: "warning" isn't one of debug, info, warn, error; did you mean "warn"?`},
	{"[log]\nformat = 'logfmt'", `2: log.format: "logfmt" isn't one of text, json`},
	{"[server]\nlisten = '127.0.0.1'", `2: server.listen: "127.0.0.1" isn't an address; write it like "127.0.0.1:11435"`},
	{"[server]\nlisten = '127.0.0.1:http'", `2: server.listen: "127.0.0.1:http" isn't an address; write it like "127.0.0.1:11435"`},
	{"[server]\nlisten = 'http://localhost:80'", `2: server.listen: "http://localhost:80" isn't an address; write it like "127.0.0.1:11435"`},
	{"[server]\nlisten = 'a b:70000'", `2: server.listen: "a b:70000" isn't an address; write it like "127.0.0.1:11435"`},
	{"[server]\nallowed_hosts = ['http://a']", `2: server.allowed_hosts: "http://a" isn't a host name; write it like "foreman.lan", without scheme or port`},
	{"[server]\nallowed_hosts = ['a:80']", `2: server.allowed_hosts: "a:80" isn't a host name; write it like "foreman.lan", without scheme or port`},
	{"[server]\nallowed_origins = ['*']", `2: server.allowed_origins: "*" would let in every web page; list those that you trust, like "https://app.example"`},
	{"[server]\nallowed_origins = ['app.example']", `2: server.allowed_origins: "app.example" ` + notAnOrigin},
	{"[server]\nallowed_origins = ['https://app.example/']", `2: server.allowed_origins: "https://app.example/" ` + notAnOrigin},
	{"[server]\nallowed_origins = ['https://*.example']", `2: server.allowed_origins: "https://*.example" ` + notAnOrigin},
	{"[server]\nallowed_origins = ['HTTPS://App.example']", `2: server.allowed_origins: "HTTPS://App.example" ` + notAnOrigin},
	{"[server]\nallowed_origins = ['https://app.example:443']", `2: server.allowed_origins: "https://app.example:443" ` + notAnOrigin},
	{"[server]\nallowed_origins = ['https://me@app.example']", `2: server.allowed_origins: "https://me@app.example" ` + notAnOrigin},
	{"[server]\nallowed_origins = ['null']", `2: server.allowed_origins: "null" ` + notAnOrigin},
	{"[server]\nallowed_origins = 'https://app.example'", `2: server.allowed_origins: must be a list such as ["https://app.example"], not a string`},
	{"[server]\nmax_connections = 0", `2: server.max_connections: 0 is out of range; the least is 1`},
	{"[server.tls]\ncert = 'a.crt'", `1: server.tls: needs both cert and key`},
	{"[server.tls]\nkey = 'a.key'", `1: server.tls: needs both cert and key`},
	{"[server]\nlisten = ':1'\n[server.tls]\nclient_ca = 'a.crt'", `3: server.tls: needs both cert and key`},
	{"[server.tls]\ncert = '~/a.crt'\nkey = 'a.key'", `2: server.tls.cert: "~/a.crt": a ~ stays as it is here; write the path in full`},
	{"[server.tls]\nca = 'a.crt'", `2: server.tls.ca: unknown key; [server.tls] has cert, key, client_ca`},
	{"[server]\nstate_dir = ''", `2: server.state_dir: is empty; remove the line for the default`},
	{"[server]\nstate_dir = '~/foreman'", `2: server.state_dir: "~/foreman": a ~ stays as it is here; write the path in full`},
	{"[target]\nurl = '127.0.0.1:11434'", `2: target.url: isn't an http or https URL; write it like "http://127.0.0.1:11434"`},
	{"[target]\nurl = 'gpu.lan'", `2: target.url: isn't an http or https URL; write it like "http://127.0.0.1:11434"`},
	{"[target]\nurl = 'ftp://gpu.lan'", `2: target.url: isn't an http or https URL; write it like "http://127.0.0.1:11434"`},
	{"[target]\nurl = 'http://:11434'", `2: target.url: isn't an http or https URL; write it like "http://127.0.0.1:11434"`},
	{"[target]\nurl = 'http://a:99999'", `2: target.url: isn't an http or https URL; write it like "http://127.0.0.1:11434"`},
	{"[target]\nurl = 'http://a/?b'", `2: target.url: holds a query or a fragment; remove it`},
	{"[target]\nurl = 'http://me:hunter2@a'", `2: target.url: holds a user or a password; put the secret in target.token`},
	{"[target]\nurl = 'http://me:hunter2@a\\x'", `2: target.url: isn't an http or https URL; write it like "http://127.0.0.1:11434"`},

	// Plugins.
	{"[target]\nbackend = 'olama'", `2: target.backend: there is no backend "olama"; did you mean "ollama"? (a plugin needs its path under [plugins.olama], or foreman-backend-olama in plugins.dir)`},
	{"[target]\nbackend = '../x'", `2: target.backend: "../x" can't name a plugin; use a to z, 0 to 9, - and _`},
	{"[plugins.sim]", `1: plugins.sim: is built in; call yours something else`},
	{"[plugins.ollama]\npath = '/x'", `1: plugins.ollama: is built in; call yours something else`},
	{"[plugins.'../x']", `1: plugins."../x": "../x" can't name a plugin; use a to z, 0 to 9, - and _`},
	{"[plugins.x]\npath = 'x'", `2: plugins.x.path: "x" must be an absolute path`},
	{"[plugins.x]\nsha256 = 'abc'", `2: plugins.x.sha256: must be 64 hex digits, as sha256sum prints them`},

	// Notifiers.
	{"[notify]\nsettle = 0", `2: notify.settle: 0 is out of range; the least is 1`},
	{"[notify]\nsetle = 1", `2: notify.setle: unknown key; did you mean "settle"?`},
	{"[notify]\nxyzzy = 5\nd.type = 'log'\nb.type = 'log'\na.type = 'log'\nc.type = 'log'", `2: notify.xyzzy: unknown key; [notify] has settle, a, b, c, d`},
	{"[notify]\n[notify.settle]\ntype = 'log'", `2: notify.settle: must be a whole number, not a table`},
	{"[notify.'O P']\ntype = 'log'", `1: notify."O P": "O P" can't name a notifier; use a to z, 0 to 9, - and _`},
	{"[notify.ops]", `1: notify.ops: needs a type (log, webhook, command, service), or plugin = "NAME" for somebody else's`},
	{"[notify.ops]\nurl = 'http://a'\nargv = ['a']", `1: notify.ops: needs a type (log, webhook, command, service), or plugin = "NAME" for somebody else's`},
	{"[notify.ops]\nurl = 'x'\ntype = 'webhok'", `3: notify.ops.type: "webhok" isn't one of log, webhook, command, service; did you mean "webhook"?`},
	{"[notify.ops]\ntype = 'log'\nplugin = 'lamp'", `3: notify.ops.plugin: a notifier has either a type or a plugin; remove one`},
	{"[notify.ops]\nplugin = 'a/b'", `2: notify.ops.plugin: "a/b" can't name a plugin; use a to z, 0 to 9, - and _`},
	{"[notify.ops]\nplugin = 'lamp'", `2: notify.ops.plugin: there is no notifier "lamp" (a plugin needs its path under [plugins.lamp], or foreman-notifier-lamp in plugins.dir)`},
	{"[notify.ops]\nplugin = 'lmap'\n[plugins.lamp]", `2: notify.ops.plugin: there is no notifier "lmap"; did you mean "lamp"? (a plugin needs its path under [plugins.lmap], or foreman-notifier-lmap in plugins.dir)`},
	{"[notify.ops]\nplugin = 'webhook'", `2: notify.ops.plugin: there is no notifier "webhook"; did you mean type = "webhook"? (a plugin needs its path under [plugins.webhook], or foreman-notifier-webhook in plugins.dir)`},
	{"[notify.ops]\nplugin = 'lamp'\n[plugins.lamp]\npath = '/lamp'\nsettings.color = 'red'", `5: plugins.lamp.settings: what a notifier gets is its own: move it to [notify.ops.settings]`},
	{"[notify.ops]\nplugin = 'lamp'\nsettings = 5", `3: notify.ops.settings: must be a table, not a number`},
	{"[notify.ops]\ntype = 'log'\nxyzzy = 5", `3: notify.ops.xyzzy: unknown key; [notify.ops] has type, plugin, events, min_interval, remind_every, timeout`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'http://a'\nsecrt = 'x'", `4: notify.ops.secrt: unknown key; did you mean "secret"?`},

	// Keys of one kind of notifier.
	{"[notify.ops]\ntype = 'webhook'\nurl = 'http://a'\nargv = ['a']", `4: notify.ops.argv: is for type = "command"`},
	{"[notify.ops]\ntype = 'service'\nurl = 'ntfy://a/b'\nsecret = 'x'", `4: notify.ops.secret: is for type = "webhook"`},
	{"[notify.ops]\ntype = 'service'\nurl = 'ntfy://a/b'\nallow_private = true", `4: notify.ops.allow_private: is for type = "webhook"`},
	{"[notify.ops]\ntype = 'command'\nargv = ['a']\nurl = 'x'", `4: notify.ops.url: is for type = "webhook" or "service"`},
	{"[notify.ops]\ntype = 'log'\nsettings = {}", `3: notify.ops.settings: is for plugin = "NAME"`},
	{"[notify.ops]\nplugin = 'lamp'\nurl = 'x'", `3: notify.ops.url: is for type = "webhook" or "service"`},
	{"[notify.ops]\ntype = 'webhook'", `1: notify.ops: type = "webhook" needs url`},
	{"[notify.ops]\ntype = 'service'", `1: notify.ops: type = "service" needs url`},
	{"[notify.ops]\ntype = 'command'", `1: notify.ops: type = "command" needs argv`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'ops.example/hunter2'", `3: notify.ops.url: isn't an http or https URL; write it like "https://ops.example/hook"`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'ftp://ops.example/hunter2'", `3: notify.ops.url: isn't an http or https URL; write it like "https://ops.example/hook"`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'https:///hunter2'", `3: notify.ops.url: isn't an http or https URL; write it like "https://ops.example/hook"`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'https://a:99999/hunter2'", `3: notify.ops.url: isn't an http or https URL; write it like "https://ops.example/hook"`},
	{"[notify.ops]\ntype = 'webhook'\nurl = { env = 'UNSET' }", `3: notify.ops.url: $UNSET is empty or not set`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'http://a'\nsecret = 'hunter2!'", `4: notify.ops.secret: isn't base64, which may follow "whsec_"; "openssl rand -base64 32" makes one`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'http://a'\nsecret = 'whsec_aHVudGVyMg=='", `4: notify.ops.secret: is base64 of 7 bytes; the least is 24, and "openssl rand -base64 32" makes one`},
	{"[notify.ops]\ntype = 'webhook'\nurl = 'http://a'\nallow_private = 'yes'", `4: notify.ops.allow_private: must be true or false, without quotes, not a string`},
	{"[notify.ops]\ntype = 'service'\nurl = 'ntfy.sh/hunter2'", `3: notify.ops.url: isn't the URL of a service; write it like "ntfy://ntfy.sh/topic"`},
	{"[notify.ops]\ntype = 'service'\nurl = 'ntfy:hunter2'", `3: notify.ops.url: isn't the URL of a service; write it like "ntfy://ntfy.sh/topic"`},
	{"[notify.ops]\ntype = 'service'\nurl = 'https://ntfy.sh/hunter2'", `3: notify.ops.url: is a web address, for type = "webhook"; a service's begins with its name, like "ntfy://ntfy.sh/topic"`},
	{"[notify.ops]\ntype = 'command'\nargv = 'page me'", `3: notify.ops.argv: must be a list such as ["/usr/local/bin/tell", "--loud"], not a string`},
	{"[notify.ops]\ntype = 'command'\nargv = []", `3: notify.ops.argv: needs a program first`},
	{"[notify.ops]\ntype = 'command'\nargv = ['', 'a']", `3: notify.ops.argv: needs a program first`},
	{"[notify.ops]\ntype = 'command'\nargv = ['page', 5]", `3: notify.ops.argv: an entry must be a string, in quotes, not a number`},
	{"[notify.ops]\ntype = 'command'\nargv = [\"a\\u0000\"]", `3: notify.ops.argv: an entry holds a zero byte, which no program takes`},
	{"[notify.ops]\ntype = 'command'\nargv = ['./page']", `3: notify.ops.argv: "./page" must be an absolute path, or a name that is on the PATH`},

	// What every notifier has.
	{"[notify.ops]\ntype = 'log'\nevents = 'degraded'", `3: notify.ops.events: must be a list such as ["degraded"], not a string`},
	{"[notify.ops]\ntype = 'log'\nevents = []", `3: notify.ops.events: is empty, which tells nobody anything; remove the line for the default`},
	{"[notify.ops]\ntype = 'log'\nevents = ['degraded', 'recoverd']", `3: notify.ops.events: no event is called "recoverd"; did you mean "recovered"?`},
	{"[notify.ops]\ntype = 'log'\nevents = ['xyzzy*']", `3: notify.ops.events: no event is called "xyzzy*"; there are degraded, recovered, target_changed, model_added, model_removed, model_changed, resident_changed, model_missing, plugin_restarted, config_reloaded, config_rejected, job_queued, job_loading, job_working, job_done, job_failed, job_cancelled, test`},
	{"[notify.ops]\ntype = 'log'\nevents = ['model_[']", `3: notify.ops.events: "model_[" isn't a pattern; write it like "model_*"`},
	{"[notify.ops]\ntype = 'log'\nmin_interval = '-1s'", `3: notify.ops.min_interval: "-1s" is too short; the least is "0s"`},
	{"[notify.ops]\ntype = 'log'\nremind_every = '5ms'", `3: notify.ops.remind_every: "5ms" is too short; the least is "1s", and "0s" is never`},
	{"[notify.ops]\ntype = 'log'\ntimeout = '99ms'", `3: notify.ops.timeout: "99ms" is too short; the least is "100ms"`},

	// Secrets.
	{"[target]\ntoken = ''", `2: target.token: the secret is empty or not set`},
	{"[target]\ntoken = { env = 'UNSET' }", `2: target.token: $UNSET is empty or not set`},
	{"[target]\ntoken = { env = 'hunter2-hunter2' }", `2: target.token: env must be the name of an environment variable`},
	{"[target]\ntoken = { file = '/does/not/exist' }", `2: target.token: "/does/not/exist" can't be read: no such file or directory`},
	{"[target]\ntoken = { evn = 'X' }", `2: target.token: must be a string, { env = "NAME" } or { file = "PATH" }`},
	{"[target]\ntoken = { env = 'X', file = 'Y' }", `2: target.token: must be a string, { env = "NAME" } or { file = "PATH" }`},
	{"[server.tokens]\nalice = 5", `2: server.tokens.alice: must be a string, { env = "NAME" } or { file = "PATH" }`},
	{"[server.tokens]\nalice = 'a\\b'\nbob = \"hunter2\\n\"", `3: server.tokens.bob: the secret begins or ends with a space`},
	{"[server.tokens]\nbob = \"hunter2\\nhunter3\"", `2: server.tokens.bob: the secret holds a line break or another control character`},

	// Not TOML.
	{"[poll]\nfall = 1\nfall = 2", `3: poll.fall: is set twice; remove one`},
	{"[poll]\nfall = 1\n[log]\n[poll]\nrise = 1", `4: poll: is set twice; remove one`},
	{"[poll]\nfall =\nrise = 1", `2: poll.fall: there is no value; text goes in quotes, as in key = "text"`},
	{"[poll]\nfall =", `2: poll.fall: the file ends before this is complete`},
	{"[poll]\nfall: 1", `2: poll: expected key = value`},
	{"[poll\nfall = 1", `1: expected ] after the name of the table`},
	{"[log]\nlevel = \"info\nformat = \"text\"", `2: log.level: the closing quote is missing on this line`},
	{"[log]\nlevel = \"\"\"info", `2: log.level: the file ends before this is complete`},
	{"[log]\nlevel = \"\\d\"", `2: log.level: a backslash in "…" begins an escape; write \\, or use '…'`},
	{"[log]\nlevel = \"\xff\"", `2: log.level: isn't UTF-8 text`},
	{"[log]\nlevel = 'a\x00'", `2: log.level: holds a control character; remove it`},
	{"[server]\nallowed_hosts = ['a' 'b']", `2: server.allowed_hosts: expected a comma or ] in the list`},
	{"[poll]\nfall = 99999999999999999999", `2: poll.fall: the number is too large`},
	{"[poll]\nfall = 1 2", `2: poll: expected the end of the line after the value; text goes in quotes`},
	{"\xff\xfe[\x00p\x00", `1: isn't UTF-8 text`},

	// Of several problems the first in the file, whatever kind it is.
	{"[log]\nlevel = 'loud'\n[poll]\nintervall = '5s'\nfall = 0", `2: log.level: "loud" isn't one of debug, info, warn, error`},
	{"[poll]\nfall = 0\nintervall = '5s'\n[log]\nlevel = 'loud'", `2: poll.fall: 0 is out of range; the least is 1`},
	{"[server]\nlisten = ':1'\n[server.tokens]\na = { env = 'UNSET' }", `4: server.tokens.a: $UNSET is empty or not set`},
}

func TestBadFiles(t *testing.T) {
	for _, tt := range badFiles {
		_, err := config.Parse("foreman.toml", []byte(tt.text), environ())
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v, not an *Error", tt.text, err)
			continue
		}
		if want := "foreman.toml:" + tt.want; err.Error() != want {
			t.Errorf("%q:\n got %s\nwant %s", tt.text, err, want)
		}
	}
}

func TestErrorFields(t *testing.T) {
	_, err := config.Parse("etc/foreman.toml", []byte("\n[poll]\nfall = 0"), environ())
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	want := config.Error{File: "etc/foreman.toml", Line: 3, Key: "poll.fall", Problem: "0 is out of range; the least is 1"}
	if *e != want {
		t.Errorf("got %+v\nwant %+v", *e, want)
	}
}

func TestBadEnvironment(t *testing.T) {
	tests := []struct{ name, value, text, want string }{
		{"HOME", "", "", `server.state_dir: neither $XDG_STATE_HOME nor $HOME is set; set state_dir`},
		{"OLLAMA_HOST", "ftp://gpu.lan", "", `target.url: $OLLAMA_HOST isn't an http or https URL; write it like "http://127.0.0.1:11434"`},
		{"OLLAMA_HOST", "ftp://gpu.lan", "\n[target]", `foreman.toml:2: target.url: $OLLAMA_HOST isn't an http or https URL; write it like "http://127.0.0.1:11434"`},
	}
	for _, tt := range tests {
		name := ""
		if tt.text != "" {
			name = "foreman.toml"
		}
		_, err := config.Parse(name, []byte(tt.text), environ(tt.name, tt.value))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s=%q:\n got %v\nwant %s", tt.name, tt.value, err, tt.want)
		}
	}
}

func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                         dir + ": can't be read: is a directory",
		filepath.Join(dir, "other"): filepath.Join(dir, "other") + ": can't be read: no such file or directory",
		big:                         big + ": is over 1 MiB; is it the right file?",
	} {
		_, err := config.Load(path, environ())
		var e *config.Error
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// A token that is broken TOML, in each way that makes the parser quote it.
func TestSyntaxErrorsHideSecrets(t *testing.T) {
	for _, value := range []string{
		`hunter2`, `1hunter2`, `01234567`, `0xhunter2`, `0b12hunter2`, `+0xhunter2`, `1_hunter2`, `1.hunter2`, `1__234567`,
		`1.2.34567`, `1ehunter2`, `truehunter2`, `infhunter2`, `nanhunter2`, `+hunter2`, `99991299999999999999`,
		`1999-99-99hunter2`, `1999-99-99`, `"hunter2`, `'hunter2`, `"""hunter2`, `"hunter2\xz"`, `"hunter2\u12"`, `"hunter2\U1"`,
		`"hunter2\q"`, `"hunter2\uD800"`, `"hunter2" hunter3`, `"hunter2"hunter3`, `['hunter2'`, `{ hunter2 }`, `{ env = hunter2 }`,
		"\"hunter2\x01\"", "\"hunter2\xff\"", "'''hunter2\nhunter3", `"hunter2\`, `hunter2"`, `{ env = "hunter2"`, `{ env = "hunter2",`,
	} {
		for _, text := range []string{"[target]\ntoken = " + value, "[target]\ntoken = " + value + "\nurl = 'http://a'\n"} {
			_, err := config.Parse("foreman.toml", []byte(text), environ())
			if err == nil {
				t.Errorf("%q was taken", text)
				continue
			}
			for _, leak := range []string{"hunter", "1234567", "34567", "9999", "D800"} {
				if strings.Contains(err.Error(), leak) {
					t.Errorf("%q: %v", text, err)
				}
			}
			if last := strings.Count(text, "\n") == 1; last && !strings.HasPrefix(err.Error(), "foreman.toml:2: ") {
				t.Errorf("%q: %v, but it is line 2", text, err)
			}
		}
	}
}
