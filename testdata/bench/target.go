package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

// sizes are the numbers of models that there is a target for.
var sizes = []int{3, 10, 100, 1000, 10_000}

const (
	many     = 10_000
	changing = "changing" // the path of a target whose list is never the same twice in a row
	orders   = 8          // in which a list comes, in turn
)

func (b *bench) targetOf(models int) string { return b.target + "/" + strconv.Itoa(models) }

// serveTarget simulates one Ollama for each size, under the size as a path,
// and one that changes. Their lists come in random order, made beforehand: what
// is measured isn't the shuffling.
func serveTarget(ctx context.Context, _ []string) error {
	mux := http.NewServeMux()
	add := func(path string, handler http.Handler) {
		mux.Handle("/"+path+"/", http.StripPrefix("/"+path, handler))
	}
	for _, n := range sizes {
		s := sim.New(sim.Options{Models: models(n), Instant: true})
		s.Shuffle(true)
		s.Fail("/api/tags", inTurn(answers(s, func(int) {})))
		add(strconv.Itoa(n), s.Handler())
	}
	s := sim.New(sim.Options{Models: models(many), Instant: true})
	s.Shuffle(true)
	s.Fail("/api/tags", inTurn(answers(s, func(i int) {
		s.Install(sim.Model{Name: "team0/model-0", Size: int64(i), ModifiedAt: installed})
	})))
	add(changing, s.Handler())
	return serve(ctx, mux)
}

// answers are what s answers to /api/tags in turn, after each change.
func answers(s *sim.Server, change func(i int)) [][]byte {
	bodies := make([][]byte, orders)
	for i := range bodies {
		change(i)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/tags", nil))
		bodies[i] = w.Body.Bytes()
	}
	return bodies
}

func inTurn(bodies [][]byte) sim.Fault {
	var next atomic.Uint64
	return func(w http.ResponseWriter, r *http.Request) {
		sim.Body("application/json; charset=utf-8", bodies[next.Add(1)%uint64(len(bodies))])(w, r)
	}
}

// installed is when all models were: Ollama shuffles those of one second.
var installed = time.Date(2026, 11, 23, 8, 19, 39, 249530578, time.UTC)

func models(n int) []sim.Model {
	list := make([]sim.Model, n)
	for i := range list {
		list[i] = sim.Model{
			Name: fmt.Sprintf("team%d/model-%d:latest", i%100, i), Digest: fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, i))),
			Size: int64(2_019_393_189 + i), Family: "llama", ParameterSize: "3.2B", Quantization: "Q4_K_M", ModifiedAt: installed,
		}
	}
	return list
}
