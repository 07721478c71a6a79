package openai

import (
	"cmp"
	"context"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/plugins/internal/target"
)

// loaded are the entries that are resident, by whatever the server tells.
func (b *Backend) loaded(ctx context.Context, entries []entry) ([]entry, error) {
	some := func(tells func(entry) bool) bool { return slices.ContainsFunc(entries, tells) }
	switch {
	case len(entries) == 0:
		return nil, nil
	case some(func(e entry) bool { return e.status != "" }): // llama.cpp's router
		return only(entries, func(e entry) bool { return e.status == "loaded" }), nil
	case some(func(e entry) bool { return e.engine }): // LoRA adapters, which state no length, too
		return entries, nil
	case some(func(e entry) bool { return e.owner == "llamacpp" }):
		return b.awake(ctx, entries)
	}
	answer, ok, err := b.studio.ask(ctx, b.target)
	if err != nil {
		return nil, err
	}
	if ok {
		all, fault := decodeList([]byte(answer.Raw))
		if fault == nil && slices.ContainsFunc(all, func(e entry) bool { return e.state != "" }) {
			return only(all, func(e entry) bool { return e.state == "loaded" }), nil
		}
		b.studio.note()
	}
	if len(entries) == 1 {
		return entries, nil
	}
	return nil, nil
}

// awake are the entries of a llama.cpp server with one model, unless it has
// been idle for so long that it gave up its memory.
func (b *Backend) awake(ctx context.Context, entries []entry) ([]entry, error) {
	props, ok, err := b.props.ask(ctx, b.target)
	if err != nil || !ok {
		return entries, err
	}
	if sleeping, _ := target.Member(props, "is_sleeping"); sleeping.Type == gjson.True {
		return nil, nil
	}
	settings, _ := target.Member(props, "default_generation_settings")
	for i := range entries {
		entries[i].context = cmp.Or(count(settings, "n_ctx"), entries[i].context)
	}
	return entries, nil
}

func only(entries []entry, keep func(entry) bool) []entry {
	return slices.DeleteFunc(entries, func(e entry) bool { return !keep(e) })
}
