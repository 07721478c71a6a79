package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// forever is a keep_alive as a runner has it: a negative one becomes the
// longest there is, some 292 years, which is what Ollama makes of it.
func forever(keep time.Duration) time.Duration {
	if keep < 0 {
		return math.MaxInt64
	}
	return keep
}

// A runner is a model in memory. The digest is its identity, as in Ollama:
// names that share one share a runner, which shows under the first; a model
// that is made anew gets another beside the old one.
type runner struct {
	model    *installed
	vram     int64 // bytes of the model that are on the GPU
	keep     time.Duration
	users    int // requests that it answers
	lastUsed time.Time
	expires  time.Time // while there are no users
}

func (r *runner) pinned() bool { return r.keep == math.MaxInt64 }

// idle says that nobody uses r from now on.
func (r *runner) idle(now time.Time) {
	r.lastUsed, r.expires = now, now.Add(r.keep)
}

func (r *runner) expiresAt(now time.Time) time.Time {
	if r.users > 0 {
		return now.Add(r.keep)
	}
	return r.expires
}

// gpu is what is resident: rules only, no waiting. The server's mutex guards
// it.
type gpu struct {
	vram      int64
	keepAlive time.Duration // of a runner whose requests state none
	runners   []*runner
	crowded   bool // a model waits for room: who comes now queues behind it
}

// sweep unloads the runners whose keep_alive is over.
func (g *gpu) sweep(now time.Time) {
	g.runners = slices.DeleteFunc(g.runners, func(r *runner) bool {
		return r.users == 0 && !r.expires.After(now)
	})
}

func (g *gpu) find(digest string, now time.Time) *runner {
	g.sweep(now)
	for _, r := range g.runners {
		if r.model.Digest == digest {
			return r
		}
	}
	return nil
}

func (g *gpu) free() int64 {
	free := g.vram
	for _, r := range g.runners {
		free -= r.vram
	}
	return free
}

// makeRoom evicts idle runners, least recently used first and pinned ones
// last, until size bytes fit. It reports whether they do, or the GPU is empty,
// in which case the rest goes to the CPU.
func (g *gpu) makeRoom(size int64, now time.Time) bool {
	g.sweep(now)
	for g.free() < size && len(g.runners) > 0 {
		victim := -1
		for i, r := range g.runners {
			if r.users == 0 && (victim < 0 || evictsBefore(r, g.runners[victim])) {
				victim = i
			}
		}
		if victim < 0 {
			return false
		}
		g.runners = slices.Delete(g.runners, victim, victim+1)
	}
	return true
}

func evictsBefore(a, b *runner) bool {
	if a.pinned() != b.pinned() {
		return b.pinned()
	}
	return a.lastUsed.Before(b.lastUsed)
}

// place makes m resident, with as much of it on the GPU as there is room for.
func (g *gpu) place(m *installed, now time.Time) *runner {
	r := &runner{model: m, vram: max(0, min(m.Size, g.free())), keep: g.keepAlive}
	r.idle(now)
	g.runners = append(g.runners, r)
	return r
}

// residents lists what is resident in Ollama's order: who stays longest first.
func (g *gpu) residents(now time.Time) []core.Resident {
	g.sweep(now)
	list := make([]core.Resident, len(g.runners))
	for i, r := range g.runners {
		list[i] = r.resident(now)
	}
	slices.SortStableFunc(list, func(a, b core.Resident) int {
		return cmp.Compare(b.ExpiresAt.Unix(), a.ExpiresAt.Unix())
	})
	return list
}

func (r *runner) resident(now time.Time) core.Resident {
	m, expires := r.model, r.expiresAt(now)
	return core.Resident{
		Name: m.Name, Digest: m.Digest, Size: m.Size, SizeVRAM: r.vram,
		ContextLength: m.Context, ExpiresAt: expires,
		Raw: mustJSON(struct {
			Name          string    `json:"name"`
			Model         string    `json:"model"`
			Size          int64     `json:"size"`
			Digest        string    `json:"digest"`
			Details       details   `json:"details"`
			ExpiresAt     time.Time `json:"expires_at"`
			SizeVRAM      int64     `json:"size_vram"`
			ContextLength int64     `json:"context_length"`
		}{m.Name, m.Name, m.Size, m.Digest, m.details(), expires, r.vram, m.Context}),
	}
}

func (s *Server) ps(w http.ResponseWriter, r *http.Request) {
	body := encodeModels(s.residents(), func(r core.Resident) []byte { return r.Raw })
	writeJSON(w, http.StatusOK, json.RawMessage(body))
}

func (s *Server) residents() []core.Resident {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gpu.residents(time.Now())
}

// use makes m resident, however long that takes, and holds it there until
// release. A keep of nil leaves the runner's keep_alive as it is. The error is
// ctx's.
func (s *Server) use(ctx context.Context, m *installed, keep *keepAlive) (release func(), err error) {
	if r := s.hold(m, keep); r != nil {
		return func() { s.release(r) }, nil
	}
	select {
	case s.loading <- struct{}{}:
		defer func() { <-s.loading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r := s.hold(m, keep) // loaded while we queued
	if r == nil {
		if r, err = s.load(ctx, m, keep); err != nil {
			return nil, err
		}
	}
	return func() { s.release(r) }, nil
}

// hold adds a user to m's runner. It returns nil if there is none, or if
// somebody waits for it to fall idle.
func (s *Server) hold(m *installed, keep *keepAlive) *runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.gpu.find(m.Digest, time.Now())
	if r == nil || s.gpu.crowded {
		return nil
	}
	r.take(keep)
	return r
}

func (r *runner) take(keep *keepAlive) {
	r.users++
	if keep != nil {
		r.keep = time.Duration(*keep)
	}
}

// load waits for room, then for the model to load. The caller owns s.loading.
func (s *Server) load(ctx context.Context, m *installed, keep *keepAlive) (*runner, error) {
	for !s.room(m) {
		select {
		case <-s.freed:
		case <-ctx.Done():
			s.mu.Lock()
			s.gpu.crowded = false
			s.mu.Unlock()
			return nil, ctx.Err()
		}
	}
	if err := s.pass(ctx, m.Load); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.gpu.place(m, time.Now())
	r.take(keep)
	return r, nil
}

func (s *Server) room(m *installed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.gpu.makeRoom(m.Size, time.Now())
	s.gpu.crowded = !ok
	return ok
}

func (s *Server) release(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.users--
	if r.users == 0 {
		r.idle(time.Now())
		s.wake()
	}
}

// wake lets a model that waits for room look again.
func (s *Server) wake() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// expire unloads m once its users are gone, as keep_alive 0 does.
func (s *Server) expire(m *installed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if r := s.gpu.find(m.Digest, now); r != nil {
		r.keep = 0
		r.idle(now)
	}
}

// Load makes an installed model resident at once, with the server's
// keep_alive, evicting idle ones if need be. It panics if there is no such
// model: the script is wrong.
func (s *Server) Load(name string) { s.scriptLoad(name, nil) }

// Pin is [Server.Load] with a keep_alive of -1: the model stays.
func (s *Server) Pin(name string) {
	keep := keepAlive(math.MaxInt64)
	s.scriptLoad(name, &keep)
}

func (s *Server) scriptLoad(name string, keep *keepAlive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.catalog.find(name)
	if !ok {
		panic(fmt.Sprintf("sim: load %q: not installed", name))
	}
	now := time.Now()
	r := s.gpu.find(m.Digest, now)
	if r == nil {
		s.gpu.makeRoom(m.Size, now)
		r = s.gpu.place(m, now)
	}
	r.keep = s.gpu.keepAlive
	if keep != nil {
		r.keep = time.Duration(*keep)
	}
	r.idle(now)
}

// Unload takes the model out of memory at once, whoever uses it.
func (s *Server) Unload(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := modelKey(name)
	s.gpu.runners = slices.DeleteFunc(s.gpu.runners, func(r *runner) bool { return r.model.key == key })
	s.wake()
}
