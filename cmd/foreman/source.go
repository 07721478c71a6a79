package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/daemon"
)

// Whom a list may come from.
const (
	sourceAuto   = "auto"
	sourceDaemon = "daemon"
	sourceTarget = "target"
)

// daemonFlag says where the daemon is.
type daemonFlag struct {
	Listen string `help:"Address that the daemon listens on, over server.listen of the config." placeholder:"HOST:PORT" env:"FOREMAN_LISTEN"`
}

// open returns a client of the daemon that the config and f describe.
func (f daemonFlag) open(e *env) (*api.Client, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, err
	}
	return f.client(cfg)
}

// client is one of the daemon that cfg describes. It shows the daemon's own
// token, the first by name where there are several.
func (f daemonFlag) client(cfg config.Config) (*api.Client, error) {
	var token config.Secret
	if names := slices.Sorted(maps.Keys(cfg.Server.Tokens)); len(names) > 0 {
		token = cfg.Server.Tokens[names[0]]
	}
	listen := cmp.Or(f.Listen, cfg.Server.Listen)
	if cfg.Server.TLS.Cert == "" {
		return api.NewClient(listen, token.Reveal()), nil
	}
	secure, err := daemon.ClientTLS(cfg.Server.TLS)
	if err != nil {
		return nil, usageError{err}
	}
	return api.NewTLSClient(listen, token.Reveal(), secure), nil
}

// sourceFlags say whom to ask for a list.
type sourceFlags struct {
	daemonFlag
	Source string `help:"Whom to ask: the daemon, the target, or auto: the daemon where one answers, else the target." enum:"auto,daemon,target" default:"auto" env:"FOREMAN_SOURCE"`
}

func (f sourceFlags) asker(e *env) (*asker, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, err
	}
	client, err := f.client(cfg)
	if err != nil {
		return nil, err
	}
	return &asker{env: e, config: cfg, client: client, source: f.Source}, nil
}

// An asker gets lists from the daemon or the target.
type asker struct {
	env    *env
	config config.Config
	client *api.Client
	source string // auto becomes target once no daemon has answered
}

// origin is where a list comes from and how good it is.
type origin struct {
	source   string // daemon or target
	url      string // of the source
	target   api.HealthTarget
	asOf     time.Time
	stale    bool
	degraded bool
	reason   core.Reason // why it is stale; "" if nobody knows
}

// A listing is a list and its origin.
type listing[T any] struct {
	origin
	models []T
}

// A question is about one of the two lists, put to either source.
type question[T any] struct {
	ofDaemon func(c *api.Client, ctx context.Context, fresh bool) (api.List[T], error)
	state    func(api.Health) api.HealthList
	ofTarget func(context.Context, core.Backend) ([]T, error)
}

var installed = question[core.Model]{
	ofDaemon: (*api.Client).Models,
	state:    func(h api.Health) api.HealthList { return h.Inventory },
	ofTarget: func(ctx context.Context, b core.Backend) ([]core.Model, error) {
		list, err := b.Models(ctx, "")
		if err != nil {
			return nil, err
		}
		core.SortModels(list.Models)
		return list.Models, nil
	},
}

var resident = question[core.Resident]{
	ofDaemon: (*api.Client).Residents,
	state:    func(h api.Health) api.HealthList { return h.Resident },
	ofTarget: func(ctx context.Context, b core.Backend) ([]core.Resident, error) { return b.Running(ctx) },
}

// ask puts q to the source. If fresh, a daemon looks at its target first. Its
// errors are those of [cantTell], or about the config.
func ask[T any](ctx context.Context, a *asker, q question[T], fresh bool) (listing[T], error) {
	if a.source != sourceTarget {
		list, err := askDaemon(ctx, a, q, fresh)
		if a.source == sourceDaemon || !errors.Is(err, api.ErrNoDaemon) {
			return list, cantTell(err)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) { // which is how it looks where there is none
			a.env.warn("%v; asking the target instead", err)
		}
		a.source = sourceTarget
	}
	list, err := askTarget(ctx, a, q)
	return list, cantTell(err)
}

func askDaemon[T any](ctx context.Context, a *asker, q question[T], fresh bool) (listing[T], error) {
	list, err := q.ofDaemon(a.client, ctx, fresh)
	if err != nil {
		return listing[T]{}, err
	}
	health, err := a.client.Health(ctx) // afterwards, since the list may have waited for a look
	if err != nil {
		return listing[T]{}, err
	}
	state := q.state(health)
	if state.AsOf == nil {
		return listing[T]{}, fmt.Errorf("the daemon hasn't seen this list of its target yet%s", inBrackets(string(cmp.Or(state.Reason, health.LastPoll.Reason))))
	}
	return listing[T]{
		models: list.Models,
		origin: origin{
			source: sourceDaemon, url: a.client.URL(), target: health.Target,
			asOf: list.AsOf, stale: state.Stale, degraded: list.Degraded,
			reason: cmp.Or(health.LastPoll.Reason, state.Reason),
		},
	}, nil
}

func askTarget[T any](ctx context.Context, a *asker, q question[T]) (listing[T], error) {
	target := a.config.Target
	list := listing[T]{origin: origin{
		source: sourceTarget, url: target.URL,
		target: api.HealthTarget{Backend: target.Backend, URL: target.URL},
	}}
	err := daemon.Query(ctx, a.config, slog.New(slog.DiscardHandler), func(ctx context.Context, b core.Backend) (err error) {
		list.models, err = q.ofTarget(ctx, b)
		return err
	})
	list.asOf = time.Now()
	return list, err
}

// cantTell is err as the reason why there is no answer: a [context.Canceled],
// an [api.ErrNotAllowed], or an [errCantTell] that says what to do.
func cantTell(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, api.ErrNotAllowed) {
		return err
	}
	if errors.Is(err, api.ErrNoDaemon) && errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: %w; foreman serve starts one", errCantTell, err)
	}
	var fault *core.Fault
	if !errors.As(err, &fault) {
		return fmt.Errorf("%w: %w", errCantTell, err)
	}
	switch fault.Reason {
	case core.StatusReason(http.StatusUnauthorized), core.StatusReason(http.StatusForbidden):
		return fmt.Errorf("%w: %w; target.token of the config is what the target gets to see", api.ErrNotAllowed, err)
	case core.ReasonRefused, core.ReasonNoRoute, core.ReasonDNS, core.ReasonWrongTarget:
		return fmt.Errorf("%w: %w; target.url of the config, or $OLLAMA_HOST, says where to look", errCantTell, err)
	default:
		return fmt.Errorf("%w: %w", errCantTell, err)
	}
}
