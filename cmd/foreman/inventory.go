package main

import (
	"context"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/seed-af7fee88/foreman/core"
)

type inventoryCmd struct {
	sourceFlags
	Output string `short:"o" help:"Format: table, wide, json, or name (one a line)." enum:"table,wide,json,name" default:"table" env:"FOREMAN_INVENTORY_OUTPUT"`
}

// Run lists the installed models.
func (c *inventoryCmd) Run(ctx context.Context, e *env) error {
	a, err := c.asker(e)
	if err != nil {
		return err
	}
	list, err := ask(ctx, a, installed, false)
	if err != nil {
		return err
	}
	switch c.Output {
	case "json":
		return e.json(inventoryDocument(list))
	case "name":
		names := make([]string, len(list.models))
		for i, m := range list.models {
			names[i] = m.Name
		}
		e.warnOfAge(list.origin)
		return e.lines(names)
	}
	if err := e.table(inventoryTable(list.models, c.Output == "wide")); err != nil {
		return err
	}
	e.tellOrigin(len(list.models), "model", list.origin)
	return nil
}

func inventoryTable(models []core.Model, wide bool) [][]string {
	rows := [][]string{{"NAME", "SIZE", "MODIFIED"}}
	if wide {
		rows[0] = []string{"NAME", "DIGEST", "SIZE", "FAMILY", "PARAMETERS", "QUANT", "MODIFIED"}
	}
	for _, m := range models {
		row := []string{m.Name, size(m.Size), modified(m, humanize.Time)}
		if wide {
			row = []string{m.Name, id(m.Digest), size(m.Size), orDash(m.Family),
				orDash(m.ParameterSize), orDash(m.Quantization), modified(m, absolute)}
		}
		rows = append(rows, row)
	}
	return rows
}

func modified(m core.Model, format func(time.Time) string) string {
	if m.ModifiedAt.IsZero() {
		return "-"
	}
	return format(m.ModifiedAt)
}

func absolute(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -0700") }

type modelDocument struct {
	Name          string     `json:"name"`
	Digest        string     `json:"digest"`
	Size          int64      `json:"size"`
	ModifiedAt    *time.Time `json:"modified_at"`
	Family        string     `json:"family"`
	ParameterSize string     `json:"parameter_size"`
	Quantization  string     `json:"quantization"`
}

func inventoryDocument(list listing[core.Model]) any {
	models := make([]modelDocument, len(list.models))
	for i, m := range list.models {
		models[i] = modelDocument{m.Name, m.Digest, m.Size, timeOrNull(m.ModifiedAt), m.Family, m.ParameterSize, m.Quantization}
	}
	return struct {
		document
		Models []modelDocument `json:"models"`
	}{list.document(), models}
}
