package api

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// noticeEvery is how often at most one caller's wish for one model is told.
	noticeEvery = time.Minute
	// maxNotices is how many wishes are told in that time. A caller who tries
	// names can't bury the other events under them.
	maxNotices = 100
)

// notices remember what [Deps.Missing] was told: a caller who keeps asking for
// a missing model is told of once a minute, and a hundred of such wishes in
// all. What is over that is left out.
type notices struct {
	mu   sync.Mutex
	told map[wish]time.Time // at most maxNotices
}

type wish struct{ caller, model string }

func newNotices() *notices { return &notices{told: make(map[wish]time.Time)} }

// due reports whether w is to be told, and takes it that it is.
func (n *notices) due(w wish) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if at, ok := n.told[w]; ok && now.Sub(at) < noticeEvery {
		return false
	}
	if len(n.told) >= maxNotices {
		maps.DeleteFunc(n.told, func(_ wish, at time.Time) bool { return now.Sub(at) >= noticeEvery })
	}
	if len(n.told) >= maxNotices {
		return false
	}
	n.told[w] = now
	return true
}

// notice tells of r if err refuses it for want of a model.
func (s *service) notice(r *http.Request, err error) {
	absent, ok := errors.AsType[*notInstalled](err)
	if !ok {
		return
	}
	caller, _ := s.guard.caller(r.Header)
	model := strings.Clone(core.ShortName(absent.name)) // not to hold the body that it stands in
	route := r.URL.Path
	if strings.HasPrefix(route, modelPrefix) {
		route = modelPrefix
	}
	if !s.notices.due(wish{caller, model}) {
		return
	}
	s.deps.Missing(core.MissingData{
		Model: model, Caller: caller, Route: route,
		Near: append([]string{}, absent.near...), // never null
	})
}
