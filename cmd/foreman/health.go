package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

type healthCmd struct {
	daemonFlag
	waitFlag
	Output string `short:"o" help:"Format: text or json." enum:"text,json" default:"text" env:"FOREMAN_HEALTH_OUTPUT"`
}

// Run tells the daemon's health. It is a yes if the target is healthy.
func (c *healthCmd) Run(ctx context.Context, e *env) error {
	cfg, err := e.load()
	if err != nil {
		return err
	}
	client, err := c.client(cfg)
	if err != nil {
		return err
	}
	type answer struct {
		body   json.RawMessage
		health api.Health
	}
	got, err := try(ctx, c.Wait, func() (a answer, yes bool, err error) {
		if a.body, err = client.RawHealth(ctx); err == nil {
			err = json.Unmarshal(a.body, &a.health)
		}
		return a, err == nil && a.health.Status == core.Healthy, cantTell(err)
	})
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = e.json(got.body)
	} else {
		err = e.fields(healthFields(got.health, client.URL(), time.Now()))
	}
	if err == nil && got.health.Status != core.Healthy {
		err = errNo
	}
	return err
}

func healthFields(h api.Health, url string, now time.Time) []field {
	colours := map[core.Status]int{core.Healthy: green, core.Degraded: red}
	fields := []field{
		{label: "status", value: string(h.Status), colour: colours[h.Status]},
		{label: "target", value: targetText(h.Target)},
		{label: "last poll", value: pollText(h)},
		{label: "next poll", value: nextPollText(h.NextPollAt, now)},
		{label: "inventory", value: listText(h.Inventory)},
		{label: "resident", value: listText(h.Resident)},
	}
	for _, p := range h.Plugins {
		fields = append(fields, field{label: "plugin", value: pluginText(p)})
	}
	return append(fields, field{label: "foreman", value: h.Version + " at " + url})
}

func targetText(t api.HealthTarget) string {
	text := t.Backend
	if t.URL != "" {
		text += " at " + t.URL
	}
	if t.Version != "" {
		text += ", version " + t.Version
	}
	return text
}

func pollText(h api.Health) string {
	if h.LastPoll.At == nil {
		return "none yet"
	}
	when := ago(*h.LastPoll.At)
	if h.LastPoll.OK {
		return fmt.Sprintf("%s, took %.3g ms", when, h.LastPoll.DurationMS)
	}
	return fmt.Sprintf("%s, failed (%s): %s; %s in a row", when, h.LastPoll.Reason, h.LastPoll.Error, count(h.Failures, "failure"))
}

func nextPollText(at *time.Time, now time.Time) string {
	if at == nil {
		return "-"
	}
	return in(*at, now)
}

func listText(l api.HealthList) string {
	if l.AsOf == nil {
		return "unknown" + inBrackets(string(l.Reason))
	}
	text := count(l.Models, "model") + ", confirmed " + ago(*l.AsOf)
	if l.Stale {
		text += ", stale" + inBrackets(string(l.Reason))
	}
	return text
}

func pluginText(p core.PluginStatus) string {
	text := fmt.Sprintf("%s (%s) %s", p.Name, p.Kind, p.State)
	if p.Restarts > 0 {
		text += ", " + count(p.Restarts, "restart")
	}
	return text + inBrackets(p.Error)
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
