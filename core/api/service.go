package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/semaphore"
)

// A service is how a server answers under one set of options. It is
// immutable, so that each request meets the same options from end to end.
type service struct {
	*Server
	opts   Options
	routes map[string]route
	guard  guard
	bodies *semaphore.Weighted // bytes of requests' bodies that may be held
	large  *semaphore.Weighted // large bodies that may be on their way in
}

// newService takes the place of old, which is nil at first. What old's
// requests hold still counts, unless the budget for it is another.
func newService(server *Server, opts Options, old *service) *service {
	opts.Allow = slices.Clone(opts.Allow)
	for i := range opts.Allow {
		opts.Allow[i] = strings.ToLower(opts.Allow[i])
	}
	s := &service{
		Server: server, opts: opts,
		guard: newGuard(opts.AllowedHosts, opts.Origins, opts.Tokens),
	}
	if old != nil && budget(old.opts.MaxBody) == budget(opts.MaxBody) {
		s.bodies, s.large = old.bodies, old.large
	} else {
		s.bodies, s.large = semaphore.NewWeighted(budget(opts.MaxBody)), semaphore.NewWeighted(mostLarge)
	}
	s.routes = s.table()
	return s
}

func (s *service) serve(writer http.ResponseWriter, r *http.Request) {
	w := pace(writer, r)
	defer w.extend()
	w.Header()["Server"] = []string{"foreman/" + s.deps.Version}
	s.guard.origins.mark(w.Header(), r)
	if err := s.guard.check(r); err != nil {
		w.hurry(r)
		s.fail(w, r, err)
		return
	}
	route, ok := s.find(r)
	if !ok {
		w.hurry(r)
		s.fail(w, r, errorf(http.StatusNotFound, "no route %s: see foreman's README for what it serves", r.URL.Path))
		return
	}
	if s.guard.origins.asked(r) {
		preflight(w, r, route.allow())
		return
	}
	handler := route.handler(r.Method)
	if handler == nil {
		w.hurry(r)
		w.Header().Set("Allow", route.allow())
		s.fail(w, r, errorf(http.StatusMethodNotAllowed, "%s doesn't take %s", r.URL.Path, r.Method))
		return
	}
	if err := handler(w, r); err != nil {
		s.notice(r, err)
		s.fail(w, r, err)
	}
}

// A handler answers, or returns what [service.fail] shall tell the caller.
type handler func(w http.ResponseWriter, r *http.Request) error

// A route is its handlers by method; GET serves HEAD too.
type route map[string]handler

func (r route) handler(method string) handler {
	if h, ok := r[method]; ok || method != http.MethodHead {
		return h
	}
	return r[http.MethodGet]
}

func (r route) allow() string {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if r.handler(m) != nil {
			methods = append(methods, m)
		}
	}
	return strings.Join(methods, ", ")
}

const (
	modelPrefix = "/v1/models/"
	blobPrefix  = "/api/blobs/"
)

// works are the routes that have the target work: those of Ollama's own, each
// with what a target that lacks it has instead, and those of /v1.
var works = map[string]string{
	"/api/generate":   "/v1/completions",
	"/api/chat":       "/v1/chat/completions",
	"/api/embed":      "/v1/embeddings",
	"/api/embeddings": "/v1/embeddings",

	"/v1/chat/completions": "",
	"/v1/completions":      "",
	"/v1/embeddings":       "",
	"/v1/responses":        "",
	"/v1/messages":         "",
}

// table is every route there is, by path. Those of the prefixes take whatever
// follows them, but a job's are told apart by [jobKey].
func (s *service) table() map[string]route {
	get := func(h handler) route { return route{http.MethodGet: h} }
	post := func(h handler) route { return route{http.MethodPost: h} }
	manage := s.native(s.manage, "its own tools to change what is installed")
	routes := map[string]route{
		"/":            get(s.root),
		"/api/version": get(s.version),
		"/api/tags":    get(s.tags),
		"/api/ps":      get(s.ps),
		"/api/show":    post(s.native(s.show, "/v1/models")),
		"/healthz":     get(s.healthz),
		"/livez":       get(s.livez),
		"/readyz":      get(s.readyz),
		"/events":      get(s.events),

		"/api/pull":    post(manage),
		"/api/push":    post(manage),
		"/api/create":  post(manage),
		"/api/copy":    post(manage),
		"/api/delete":  {http.MethodDelete: manage},
		"/api/me":      post(manage), // the stock client's first call of a push
		"/api/signout": post(manage),
		blobPrefix:     {http.MethodHead: manage, http.MethodPost: manage},

		"/queue": get(s.queue),
	}
	maps.Copy(routes, s.jobRoutes())
	if s.opts.OpenAI {
		routes["/v1/models"] = get(s.openAIModels)
		routes[modelPrefix] = get(s.openAIModel)
	}
	for path, instead := range works {
		switch {
		case instead != "":
			routes[path] = post(s.native(s.inference, instead))
		case s.opts.OpenAI:
			routes[path] = post(s.inference)
		}
	}
	return routes
}

// native is h where the target has Ollama's own routes. While nobody can tell
// h goes on, and fails or waits by itself.
func (s *service) native(h handler, instead string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := s.lacks(instead); err != nil {
			return err
		}
		return h(w, r)
	}
}

// lacks refuses what a target doesn't have that speaks only /v1.
func (s *service) lacks(instead string) error {
	if upstream, err := s.deps.Upstream(); err == nil && upstream.V1Only {
		return errorf(http.StatusNotImplemented, "the target speaks only /v1; use %s", instead)
	}
	return nil
}

// find looks the path up as it was sent: an encoded or a doubled slash names
// no route.
func (s *service) find(r *http.Request) (route, bool) {
	path := r.URL.EscapedPath()
	for _, prefix := range []string{modelPrefix, blobPrefix} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			found, ok := s.routes[prefix]
			return found, ok && rest != ""
		}
	}
	if rest, ok := strings.CutPrefix(path, jobPrefix); ok {
		path = jobKey(rest)
	}
	found, ok := s.routes[path]
	return found, ok
}
