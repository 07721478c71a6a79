// Package config owns foreman.toml: which keys there are, what they are when
// the file doesn't say, and what is wrong with a file in one line.
//
//	Find ──► path ──► Load ──► Parse ──► Config ──► Files ──► Watcher ──► Load …
//	                                 └─► *Error: file, line, key, what to do
//
// Loading changes nothing and keeps nothing, so a running daemon may do it
// again at any time and drop the result. What it reads besides the file is the
// environment it is given, the files that secrets name, and whether the plugins
// that it names stand in the plugin directory.
package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
)

// A Config is what one file says, with defaults for the rest. The tags of it
// and of what is in it are the names in the file.
type Config struct {
	Server    Server    `toml:"server"`
	Target    Target    `toml:"target"`
	Poll      Poll      `toml:"poll"`
	Admission Admission `toml:"admission"`
	Retry     Retry     `toml:"retry"`
	Schedule  Schedule  `toml:"schedule"`
	Jobs      Jobs      `toml:"jobs"`
	Log       Log       `toml:"log"`
	Notify    Notify    `toml:"notify"`
	Plugins   Plugins   `toml:"plugins"`

	read *reading // nil of what no file says
}

// Server is [server]: what foreman listens on and who may ask.
type Server struct {
	Listen         string            `toml:"listen"` // host:port
	StateDir       string            `toml:"state_dir"`
	OpenAI         bool              `toml:"openai"`          // serve /v1
	Management     bool              `toml:"management"`      // let callers pull, push, create, copy and delete
	AllowedHosts   []string          `toml:"allowed_hosts"`   // Host names to answer to besides the usual ones, in lower case
	AllowedOrigins []string          `toml:"allowed_origins"` // origins of web pages that may ask, as browsers write them
	MaxBody        Size              `toml:"max_body"`        // of a caller's request
	MaxConnections int               `toml:"max_connections"` // open at a time
	Tokens         map[string]Secret `toml:"tokens"`          // callers' tokens, by caller
	Insecure       bool              `toml:"insecure"`        // Listen may be open to other machines without Tokens
	TLS            TLS               `toml:"tls"`
}

// TLS is [server.tls]: paths of PEM files. There is TLS if Cert is set, and
// then Key is too.
type TLS struct {
	Cert     string `toml:"cert"` // a chain, foreman's own certificate first
	Key      string `toml:"key"`
	ClientCA string `toml:"client_ca"` // whose certificates callers have to show; "" asks for none
}

// SetListen is what a flag does: it changes Listen, under the rules that hold
// for the file.
func (s *Server) SetListen(address string) error {
	address, err := listen(address)
	if err != nil {
		return err
	}
	changed := *s
	changed.Listen = address
	if err := changed.checkOpen(); err != nil {
		return err
	}
	*s = changed
	return nil
}

// checkOpen refuses to let other machines in without a token or a certificate
// of their own.
func (s *Server) checkOpen() error {
	if isLoopback(s.Listen) || len(s.Tokens) > 0 || s.TLS.ClientCA != "" || s.Insecure {
		return nil
	}
	return fmt.Errorf("%q is open to other machines; add a token under [server.tokens], "+
		"or set client_ca under [server.tls], or allow it with insecure = true", s.Listen)
}

// Target is [target]: the server that foreman stands in front of.
type Target struct {
	Backend string `toml:"backend"` // "ollama", "sim", or an outside plugin's name
	URL     string `toml:"url"`     // without a trailing slash; "" lets the backend choose
	Token   Secret `toml:"token"`
}

// Poll is [poll]: how often foreman looks at its target, and how many looks
// change its mind.
type Poll struct {
	Interval     time.Duration `toml:"interval"`
	Timeout      time.Duration `toml:"timeout"`       // of one look
	Jitter       float64       `toml:"jitter"`        // share of Interval by which it varies, 0 to 0.5
	FastInterval time.Duration `toml:"fast_interval"` // after a failure
	DownInterval time.Duration `toml:"down_interval"` // while degraded
	Fall         int           `toml:"fall"`          // failures in a row until degraded
	Rise         int           `toml:"rise"`          // successes in a row until healthy again
}

// Admission is [admission]: which requests reach the target.
type Admission struct {
	Allow []string `toml:"allow"` // patterns, as of path.Match, of model names that aren't checked
}

// Retry is [retry]: how long what can't reach the target waits.
type Retry struct {
	MaxWait time.Duration `toml:"max_wait"` // a request
	MaxAge  time.Duration `toml:"max_age"`  // a job
}

// Schedule is [schedule]: in which order requests and jobs run.
type Schedule struct {
	Parallel   int           `toml:"parallel"`    // requests of the resident model that run at a time
	MaxStint   time.Duration `toml:"max_stint"`   // how long a model that has work keeps others waiting
	Linger     time.Duration `toml:"linger"`      // of that, how long the target may idle for a model's next request
	Beside     []string      `toml:"beside"`      // patterns, as of path.Match, of models that don't queue
	MaxWaiting int           `toml:"max_waiting"` // callers on the line
}

// Jobs is [jobs]: the durable jobs.
type Jobs struct {
	TTL           time.Duration `toml:"ttl"`          // how long one that has ended is kept
	MaxAttempts   int           `toml:"max_attempts"` // with an error of the target
	MaxRun        time.Duration `toml:"max_run"`      // of one attempt
	MaxQueued     int           `toml:"max_queued"`
	Webhooks      bool          `toml:"webhooks"`       // callers may name one
	WebhookSecret Secret        `toml:"webhook_secret"` // they are signed with it
	AllowPrivate  bool          `toml:"allow_private"`  // they may be in private networks
}

// Log is [log].
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json
}

// Plugins is [plugins].
type Plugins struct {
	Dir     string            `toml:"dir"`     // where outside plugins are found; "" if the environment names no home
	Outside map[string]Plugin `toml:",inline"` // [plugins.NAME]
}

// A Plugin is somebody else's executable.
type Plugin struct {
	Path     string          `toml:"path"`     // absolute; "" if it is to be found in [Plugins].Dir
	SHA256   string          `toml:"sha256"`   // of the executable, 64 hex digits in lower case; "" doesn't check
	Settings json.RawMessage `toml:"settings"` // an object; nil if there is none
}

// Backend is the outside backend plugin of that name: its table, with the
// path where it stands in Dir unless the table has one. The path is "" if
// there is neither.
func (p Plugins) Backend(name string) Plugin { return p.find("backend", name) }

// Notifier is the outside notifier plugin of that name, as Backend.
func (p Plugins) Notifier(name string) Plugin { return p.find("notifier", name) }

func (p Plugins) find(kind, name string) Plugin {
	plugin := p.Outside[name]
	if plugin.Path == "" && p.Dir != "" {
		plugin.Path = filepath.Join(p.Dir, "foreman-"+kind+"-"+name)
	}
	return plugin
}

// A Size is a number of bytes.
type Size int64

func (s Size) String() string { return humanize.IBytes(uint64(s)) }

// Default is what holds where a file says nothing. getenv is asked for
// OLLAMA_HOST, the XDG directories and HOME; where those name no home,
// Server.StateDir and Plugins.Dir are "".
func Default(getenv func(string) string) Config {
	return Config{
		Server: Server{
			Listen:         "127.0.0.1:11435",
			StateDir:       xdg(getenv, "XDG_STATE_HOME", ".local/state", "foreman"),
			OpenAI:         true,
			MaxBody:        64 << 20,
			MaxConnections: 1024,
		},
		Target: Target{Backend: ollama, URL: ollamaHost(getenv("OLLAMA_HOST"))},
		Poll: Poll{
			Interval:     30 * time.Second,
			Timeout:      5 * time.Second,
			Jitter:       0.1,
			FastInterval: 2 * time.Second,
			DownInterval: time.Second,
			Fall:         3,
			Rise:         2,
		},
		Retry: Retry{MaxWait: time.Minute, MaxAge: 24 * time.Hour},
		Schedule: Schedule{
			Parallel: 1, MaxStint: 5 * time.Minute, Linger: 20 * time.Second, MaxWaiting: 256,
		},
		Jobs:    Jobs{TTL: 24 * time.Hour, MaxAttempts: 3, MaxRun: 2 * time.Hour, MaxQueued: 100_000},
		Log:     Log{Level: "info", Format: "text"},
		Notify:  Notify{Settle: 2},
		Plugins: Plugins{Dir: xdg(getenv, "XDG_DATA_HOME", ".local/share", "foreman/plugins")},
	}
}
