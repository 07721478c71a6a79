package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
)

type healthCmd struct {
	daemonFlag
	waitFlag
	Watch  bool   `short:"w" help:"Go on with each event as it happens, until interrupted; -o json prints the events alone, one a line." env:"FOREMAN_WATCH"`
	Output string `short:"o" help:"Format: text or json." enum:"text,json" default:"text" env:"FOREMAN_HEALTH_OUTPUT"`
}

// Run tells the daemon's health. It is a yes if the target is healthy.
func (c *healthCmd) Run(ctx context.Context, e *env) error {
	cfg, err := e.load()
	var problem *config.Error
	// A daemon goes on with the config that it had, and tells more of a problem
	// than that there is one: it is looked for where what can be read says.
	if err != nil && !errors.As(err, &problem) {
		return err
	}
	client, err := c.client(cfg)
	if err != nil {
		return err
	}
	if problem != nil {
		if _, err := client.RawHealth(ctx); err != nil {
			return problem
		}
		e.warn("%v", problem)
	}
	if c.Watch && c.Output == "json" {
		if _, err := client.RawHealth(ctx); err != nil {
			return cantTell(err)
		}
		return e.follow(ctx, client, e.eventJSON)
	}
	err = c.tell(ctx, e, client)
	if c.Watch && (err == nil || errors.Is(err, errNo)) {
		return e.follow(ctx, client, e.eventLine)
	}
	return err
}

// tell prints the health once.
func (c *healthCmd) tell(ctx context.Context, e *env, client *api.Client) error {
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
	for _, n := range h.Notifiers {
		fields = append(fields, field{label: "notifier", value: notifierText(n)})
	}
	if h.JobsError != "" {
		fields = append(fields, field{label: "jobs", value: "can't be kept: " + h.JobsError, colour: red})
	}
	if text := configText(h.Config); text != "" {
		fields = append(fields, field{label: "config", value: text, colour: red})
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

func notifierText(n core.NotifierStatus) string {
	text := fmt.Sprintf("%s: %d delivered", n.Name, n.Delivered)
	for _, part := range []struct {
		n    int
		what string
	}{{n.Queued, "queued"}, {n.Dropped, "dropped"}, {n.Folded, "folded"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return text + inBrackets(n.Error)
}

// configText is what somebody has to do about the config, or "".
func configText(c api.ConfigHealth) string {
	switch {
	case c.Error != nil:
		problem := config.Error{File: c.Error.File, Line: c.Error.Line, Key: c.Error.Key, Problem: c.Error.Problem}
		return "rejected, the one before is in force: " + problem.Error()
	case len(c.NeedsRestart) > 0:
		return "needs a restart for " + strings.Join(c.NeedsRestart, ", ")
	default:
		return ""
	}
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
