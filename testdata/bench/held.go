package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// measureHeld measures what a chat costs that is open and waits for its next
// chunk: the heap after a collection, of foreman's API in a process that does
// nothing else, and the resident memory of a whole foreman, garbage included.
func measureHeld(ctx context.Context, b *bench) ([]figure, error) {
	target, err := startRole(ctx, "chat")
	if err != nil {
		return nil, err
	}
	defer target.stop()
	alone, err := startRole(ctx, "api", target.url)
	if err != nil {
		return nil, err
	}
	defer alone.stop()
	heap, err := perHeld(alone.url, func() (size, error) { return heapOf(ctx, alone.url) })
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("each of %d open chats: ", most)
	figures := []figure{atMost(what+"heap", heap, 48*kibibyte)}
	if !hasProc() {
		return figures, nil
	}
	d, err := startDaemon(ctx, b, target.url)
	if err != nil {
		return figures, err
	}
	defer d.stop()
	resident, err := perHeld(d.url(), func() (size, error) { return rss(d.cmd.Process.Pid) })
	return append(figures, unjudged(what+"resident memory of foreman, with stacks and garbage", resident)), err
}

// perHeld is by how much weigh grows for each open chat. Some chats before the
// first weighing bring in what is needed once.
func perHeld(base string, weigh func() (size, error)) (size, error) {
	warm, err := openChats(clients, base)
	defer warm.close()
	if err != nil {
		return 0, err
	}
	before, err := weigh()
	if err != nil {
		return 0, err
	}
	held, err := openChats(most, base)
	defer held.close()
	if err != nil {
		return 0, err
	}
	after, err := weigh()
	return (after - before) / most, err
}

// openChats returns chats whose first chunk has come and whose next won't.
func openChats(n int, base string) (conns, error) {
	all, err := dialAll(n, chatAt(base, time.Hour))
	if err != nil {
		return nil, err
	}
	return all, all.each(func(_ int, c *conn) error {
		if _, err := c.ask(); err != nil {
			return err
		}
		_, err := c.chunk(func([]byte) {})
		return err
	})
}

const heapPath = "/heap"

func heapOf(ctx context.Context, base string) (inUse size, err error) {
	body, _, err := fetch(ctx, base+heapPath)
	if err != nil {
		return 0, err
	}
	return inUse, json.Unmarshal(body, &inUse)
}

// serveAPI is foreman's API in front of the target in args, and tells its own
// heap beside. Two collections empty the pools, too.
func serveAPI(ctx context.Context, args []string) error {
	return serveAlone(ctx, aloneBefore(args[0]))
}

// aloneBefore is all that the API needs for chats with a target.
func aloneBefore(target string) api.Deps {
	return api.Deps{
		Inventory: oneModel{},
		Upstream:  func() (core.Upstream, error) { return core.Upstream{URL: target}, nil },
		Probe:     func(context.Context) error { return nil },
	}
}

func serveAlone(ctx context.Context, deps api.Deps) error {
	mux := http.NewServeMux()
	mux.Handle("/", api.New(deps, api.Options{MaxBody: 64 * mebibyte}, slog.New(slog.DiscardHandler)))
	mux.HandleFunc(heapPath, func(w http.ResponseWriter, _ *http.Request) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprint(w, m.HeapInuse)
	})
	return serve(ctx, mux)
}

// oneModel is an inventory that never changes.
type oneModel struct{}

var chatOnly = &core.Snapshot{
	Status:    core.Healthy,
	Inventory: core.NewInventory([]core.Model{{Name: chatModel}}, ""),
}

func (oneModel) Snapshot() *core.Snapshot               { return chatOnly }
func (oneModel) Recheck(context.Context) *core.Snapshot { return chatOnly }
func (oneModel) Nudge()                                 {}
