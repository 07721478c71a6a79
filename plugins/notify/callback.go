package notify

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// A callback is a webhook whose address comes with each event: foreman's
// callers name it for their jobs, and it stands in [core.WebhookField]. It is
// judged as a configured one is, and told to nobody. Unlike other notifiers it
// gets several events at a time.
type callback struct{ webhook }

func (c *callback) Configure(_ context.Context, settings json.RawMessage) error {
	var s struct {
		table
		Secret       string `json:"secret"`
		AllowPrivate bool   `json:"allow_private"`
	}
	if err := plugin.Decode(settings, &s); err != nil {
		return err
	}
	c.guard = newGuard(s.AllowPrivate)
	return c.sign(s.Secret)
}

func (c *callback) Notify(ctx context.Context, event core.Event) error {
	var data map[string]json.RawMessage
	var address string
	err := json.Unmarshal(event.Data, &data)
	if err == nil {
		err = json.Unmarshal(data[core.WebhookField], &address)
	}
	if err != nil {
		return fmt.Errorf("%w: the event names no %s", core.ErrUndeliverable, core.WebhookField)
	}
	delete(data, core.WebhookField)
	if event.Data, err = json.Marshal(data); err != nil {
		return fmt.Errorf("%w: encode the event: %w", core.ErrUndeliverable, err)
	}
	to := c.webhook
	if err := to.aim(address); err != nil {
		return fmt.Errorf("%w: %w", core.ErrUndeliverable, err)
	}
	return to.Notify(ctx, event)
}
