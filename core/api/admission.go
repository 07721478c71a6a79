package api

import (
	"context"
	"fmt"
	"net/http"
	"path"
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
	allow     []string // patterns of names that aren't checked
	looks     singleflight.Group

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

func newAdmission(inventory Inventory, allow []string) *admission {
	return &admission{inventory: inventory, allow: allow, misses: make(map[core.ModelName]miss)}
}

// admit returns what keeps a request for name from the target, or nil.
func (a *admission) admit(ctx context.Context, name string) error {
	if a.unchecked(name) {
		return nil
	}
	_, err := a.find(ctx, name)
	return err
}

// unchecked reports whether the target alone can tell: Ollama reaches models
// in its cloud that it doesn't list, and the owner may know of others.
func (a *admission) unchecked(name string) bool {
	if lower := strings.ToLower(name); strings.HasSuffix(lower, ":cloud") || strings.HasSuffix(lower, "-cloud") {
		return true
	}
	for _, pattern := range a.allow {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
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
	again := time.Since(missed.at) < keepsAsking
	near := a.remember(names[0], again, snapshot.Inventory)
	return core.Model{}, missing(name, near)
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

// remember notes that inventory doesn't have name, and returns the names that
// may have been meant. They are searched for once a list, one search at a
// time: 10,000 models take some milliseconds.
func (a *admission) remember(name core.ModelName, again bool, inventory *core.Inventory) []string {
	m := miss{at: time.Now(), again: again}
	if inventory != nil {
		m.list = inventory.Tags.ETag
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.misses[name]; ok && old.list == m.list {
		m.near = old.near
	} else {
		m.near = inventory.Near(name.String())
	}
	if len(a.misses) >= maxMisses {
		clear(a.misses)
	}
	a.misses[name] = m
	return m.near
}

func missing(name string, near []string) error {
	return &httpError{status: http.StatusNotFound, message: NotFound(name, near)}
}

// NotFound is Ollama's own sentence about a missing model, and the names that
// may have been meant.
func NotFound(name string, near []string) string {
	sentence := fmt.Sprintf("model '%s' not found", name)
	if len(near) == 0 {
		return sentence
	}
	return sentence + "; did you mean '" + strings.Join(near, "', '") + "'?"
}
