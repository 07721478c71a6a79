package api

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/seed-af7fee88/foreman/core"
)

const (
	// missLasts is how long a look that didn't find a model serves all who
	// keep asking for it.
	missLasts = time.Second
	// keepsAsking is how soon somebody asks again for a model that was missed
	// who isn't thought to have pulled it since.
	keepsAsking = 10 * time.Second
	maxMisses   = 1024
)

// admission decides whether a request for a model goes on to the target.
//
//	name is   the target is                       answer
//	known     whatever                            goes on
//	absent    healthy                             one look at the target, then 404
//	absent    away, seen in the last minute       404
//	absent    away for longer, or never seen      503
//
// A missing model is a 404, never a 503, which half of the clients retry.
type admission struct {
	inventory Inventory
	looks     singleflight.Group
	searches  singleflight.Group // for near names
	searching chan struct{}      // a slot for each that may run

	mu     sync.Mutex
	misses map[core.ModelName]miss // at most maxMisses
}

// miss is what is known of a model that isn't there.
type miss struct {
	at    time.Time // when that was last right
	again bool      // it had been missed shortly before, too
	near  []string
	list  string // the ETag of the list that near is from
}

func newAdmission(inventory Inventory) *admission {
	return &admission{
		inventory: inventory,
		searching: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		misses:    make(map[core.ModelName]miss),
	}
}

// Find looks a model up for a job as for a request, and returns nil if one may
// go on. Its error may be [core.ErrNotInstalled]; others say that nobody can tell.
func (s *Server) Find(ctx context.Context, model string) error {
	return s.current.Load().admit(ctx, model)
}

// admit returns what keeps a request for name from the target, or nil.
func (s *service) admit(ctx context.Context, name string) error {
	if unchecked(name, s.opts.Allow) {
		return nil
	}
	_, err := s.admission.find(ctx, name)
	return err
}

// unchecked reports whether the target alone can tell: Ollama reaches models
// in its cloud, and the owner may know of others. Patterns are in lower case,
// and may leave out the tag "latest", as a caller may.
func unchecked(name string, allow []string) bool {
	if core.InCloud(name) {
		return true
	}
	if len(allow) == 0 || core.NameOf(name) == (core.ModelName{}) {
		return false
	}
	const latest = ":latest"
	written, long := strings.ToLower(name), strings.ToLower(core.NameOf(name).String())
	ways := []string{written, long, strings.TrimSuffix(long, latest)}
	return slices.ContainsFunc(allow, func(pattern string) bool {
		return slices.ContainsFunc(ways, func(way string) bool {
			ok, _ := path.Match(pattern, way)
			return ok
		})
	})
}

// find returns the installed model that name means, or the refusal.
func (a *admission) find(ctx context.Context, name string) (core.Model, error) {
	names := core.Meanings(name)
	if len(names) == 0 {
		return core.Model{}, missing(name, nil)
	}
	snapshot := a.inventory.Snapshot()
	if model, ok := installed(snapshot, names); ok {
		return model, nil
	}
	missed := a.missed(names[0])
	if missed.again && time.Since(missed.at) < missLasts {
		return core.Model{}, missing(name, missed.near)
	}
	if snapshot.Status == core.Degraded {
		a.inventory.Nudge()
	} else {
		snapshot = a.look(ctx, names[0])
		if err := ctx.Err(); err != nil {
			return core.Model{}, err
		}
		if model, ok := installed(snapshot, names); ok {
			return model, nil
		}
	}
	if snapshot.Status != core.Healthy && time.Since(snapshot.InventoryAt) > core.AbsenceLasts {
		return core.Model{}, away(snapshot)
	}
	now := a.refused(names[0], missed, snapshot.Inventory)
	return core.Model{}, missing(name, now.near)
}

func installed(snapshot *core.Snapshot, names []core.ModelName) (core.Model, bool) {
	for _, name := range names {
		if model, ok := snapshot.Inventory.Find(name); ok {
			return model, true
		}
	}
	return core.Model{}, false
}

// look is the grace re-check, which goes on when its first caller leaves. One
// who comes while a look for the same name is under way shares it, rather
// than wait for the next.
func (a *admission) look(ctx context.Context, name core.ModelName) *core.Snapshot {
	looked := a.looks.DoChan(name.String(), func() (any, error) {
		return a.inventory.Recheck(context.WithoutCancel(ctx)), nil
	})
	select {
	case result := <-looked:
		return result.Val.(*core.Snapshot)
	case <-ctx.Done():
		return a.inventory.Snapshot()
	}
}

// missed is when name was last missed. A first miss isn't good for a refusal,
// since the model may have been pulled because of it; later ones are, so that
// callers who keep asking neither hammer the target nor wait for it.
func (a *admission) missed(name core.ModelName) miss {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.misses[name]
}

// refused notes that inventory doesn't have name, which was missed before as
// old says. When there are many misses, one of the others is forgotten.
func (a *admission) refused(name core.ModelName, old miss, inventory *core.Inventory) miss {
	m := miss{at: time.Now(), again: time.Since(old.at) < keepsAsking}
	if inventory != nil {
		m.list = inventory.Tags.ETag
	}
	if m.near = old.near; old.list != m.list {
		m.near = a.search(name, m.list, inventory)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.misses[name]; !known && len(a.misses) >= maxMisses {
		for other := range a.misses { // any
			delete(a.misses, other)
			break
		}
	}
	a.misses[name] = m
	return m
}

// search returns the names that may have been meant. Among 10,000 models it
// takes some milliseconds: all who miss a name share one search, and those for
// different names leave half of the processors to others.
func (a *admission) search(name core.ModelName, list string, inventory *core.Inventory) []string {
	near, _, _ := a.searches.Do(list+" "+name.String(), func() (any, error) {
		a.searching <- struct{}{}
		defer func() { <-a.searching }()
		return inventory.Near(name.String()), nil
	})
	return near.([]string)
}

func missing(name string, near []string) error { return &notInstalled{name, near} }

// notInstalled refuses a request for a model.
type notInstalled struct {
	name string
	near []string // installed ones that may have been meant
}

func (e *notInstalled) Error() string { return NotFound(e.name, e.near) }

func (e *notInstalled) Is(target error) bool { return target == core.ErrNotInstalled }

// NotFound is Ollama's own sentence about a missing model, and the names that
// may have been meant.
func NotFound(name string, near []string) string {
	sentence := fmt.Sprintf("model '%s' not found", core.ShortName(name))
	if len(near) == 0 {
		return sentence
	}
	return sentence + "; did you mean '" + strings.Join(near, "', '") + "'?"
}
