package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

// watchEvery is the time between two looks of --watch.
const watchEvery = 2 * time.Second

type psCmd struct {
	sourceFlags
	Output string `short:"o" help:"Format: table or json." enum:"table,json" default:"table" env:"FOREMAN_PS_OUTPUT"`
	Watch  bool   `short:"w" help:"Look again every 2 seconds until interrupted; into a pipe, print only what changed." env:"FOREMAN_WATCH"`
}

// Run lists the resident models, once or until ctx ends.
func (c *psCmd) Run(ctx context.Context, e *env) error {
	a, err := c.asker(e)
	if err != nil {
		return err
	}
	look := func() (residency, error) { return lookAround(ctx, a) }
	if c.Watch {
		return c.watch(ctx, e, look)
	}
	list, err := look()
	if err != nil {
		return err
	}
	return c.show(e, list)
}

// A residency is what is in memory, and what waits for it.
type residency struct {
	listing[core.Resident]
	queue *api.Queue // nil if nobody knows
}

// lookAround asks for a residency. A queue that can't be had leaves the rest.
func lookAround(ctx context.Context, a *asker) (residency, error) {
	list, err := ask(ctx, a, resident, false)
	r := residency{listing: list}
	if err == nil && r.source == sourceDaemon {
		r.queue, _ = queueOf(ctx, a.client)
	}
	return r, err
}

func (c *psCmd) show(e *env, list residency) error {
	now := time.Now()
	if c.Output == "json" {
		return e.json(psDocument(list, now))
	}
	if err := e.table(psTable(list.models, now)); err != nil {
		return err
	}
	e.tellOrigin(len(list.models), "resident model", list.origin)
	if text := queueText(list.queue); text != "" {
		e.say("%s", text)
	}
	return nil
}

// watch redraws a terminal at each look, and elsewhere shows what is new.
// Only a first look that fails ends it: later ones may fail and go on.
func (c *psCmd) watch(ctx context.Context, e *env, look func() (residency, error)) error {
	redraw := c.Output == "table" && e.isTerminal()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var shown *residency
	told := ""
	for {
		list, err := look()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && shown == nil:
			return err
		case err != nil:
			if told != err.Error() {
				told = err.Error()
				e.warn("%s", told)
			}
		case redraw || shown == nil || told != "" || !alike(list, *shown):
			told = ""
			if redraw {
				err = e.clear()
			}
			if err == nil {
				err = c.show(e, list)
			}
			if err != nil {
				return err
			}
			shown = &list
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// alike reports whether nothing but time has passed between two lists. A
// model that is in use unloads a little later at every look.
func alike(a, b residency) bool {
	now := time.Now()
	return a.stale == b.stale && a.degraded == b.degraded && queueText(a.queue) == queueText(b.queue) &&
		slices.EqualFunc(a.models, b.models, func(x, y core.Resident) bool {
			return x.Name == y.Name && x.Digest == y.Digest && x.Size == y.Size && x.SizeVRAM == y.SizeVRAM &&
				x.ContextLength == y.ContextLength && x.Pinned(now) == y.Pinned(now)
		})
}

// queueText is who runs and the models that wait, or "" if nothing does.
func queueText(q *api.Queue) string {
	if q == nil || len(q.Running) == 0 && len(q.Waiting) == 0 {
		return ""
	}
	text := "nothing runs"
	switch {
	case q.Loading:
		text = q.Model + " is being loaded"
	case q.IdleUntil != nil:
		text += ": " + idleText(*q)
	case len(q.Running) > 0:
		text = strings.Join(turns(q.Running), ", ") + " runs"
	}
	if len(q.Waiting) > 0 {
		text += fmt.Sprintf("; next %s; %s to come", strings.Join(turns(q.Waiting), ", "), count(q.Swaps, "swap"))
	}
	return text
}

func psTable(residents []core.Resident, now time.Time) [][]string {
	rows := [][]string{{"NAME", "ID", "SIZE", "PROCESSOR", "VRAM", "CONTEXT", "UNLOADS"}}
	for _, r := range residents {
		context := "-"
		if r.ContextLength > 0 {
			context = strconv.FormatInt(r.ContextLength, 10)
		}
		rows = append(rows, []string{r.Name, id(r.Digest), size(r.Size), processor(r), size(r.SizeVRAM), context, unloads(r, now)})
	}
	return rows
}

// processor says where r is, in the words of `ollama ps`.
func processor(r core.Resident) string {
	switch {
	case r.SizeVRAM <= 0 && r.Size <= 0: // a backend that doesn't tell
		return "-"
	case r.SizeVRAM <= 0:
		return "100% CPU"
	case r.SizeVRAM == r.Size:
		return "100% GPU"
	case r.SizeVRAM > r.Size:
		return "Unknown"
	default:
		cpu := math.Round(float64(r.Size-r.SizeVRAM) / float64(r.Size) * 100)
		return fmt.Sprintf("%d%%/%d%% CPU/GPU", int(cpu), int(100-cpu))
	}
}

func unloads(r core.Resident, now time.Time) string {
	if r.Pinned(now) {
		return "never"
	}
	return in(r.ExpiresAt, now)
}

type residentDocument struct {
	Name          string     `json:"name"`
	Digest        string     `json:"digest"`
	Size          int64      `json:"size"`
	SizeVRAM      int64      `json:"size_vram"`
	VRAMShare     float64    `json:"vram_share"` // of Size, 0 to 1
	ContextLength int64      `json:"context_length"`
	ExpiresAt     *time.Time `json:"expires_at"` // null if never
	Pinned        bool       `json:"pinned"`
}

type queueDocument struct {
	Model   string     `json:"model"`   // whose turn it is, "" if none's
	Loading bool       `json:"loading"` // that model
	Waiting core.Names `json:"waiting"` // in the order to come
	Swaps   int        `json:"swaps"`   // models to be loaded until all of it has run
}

func psDocument(list residency, now time.Time) any {
	models := make([]residentDocument, len(list.models))
	for i, r := range list.models {
		models[i] = residentDocument{
			Name: r.Name, Digest: r.Digest, Size: r.Size, SizeVRAM: r.SizeVRAM, VRAMShare: vramShare(r),
			ContextLength: r.ContextLength, Pinned: r.Pinned(now),
		}
		if !models[i].Pinned {
			models[i].ExpiresAt = timeOrNull(r.ExpiresAt)
		}
	}
	var queue *queueDocument
	if q := list.queue; q != nil {
		queue = &queueDocument{q.Model, q.Loading, turns(q.Waiting), q.Swaps}
	}
	return struct {
		document
		Models []residentDocument `json:"models"`
		Queue  *queueDocument     `json:"queue"` // null if nobody knows
	}{list.document(), models, queue}
}

// vramShare has four digits: a hundredth of a percent.
func vramShare(r core.Resident) float64 {
	if r.Size <= 0 {
		return 0
	}
	share := float64(r.SizeVRAM) / float64(r.Size)
	return math.Round(1e4*max(0, min(1, share))) / 1e4
}
