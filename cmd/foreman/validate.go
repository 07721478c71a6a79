package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

type validateCmd struct {
	Models []string `arg:"" optional:"" name:"model" help:"Names, as a client would write them."`
	sourceFlags
	waitFlag
	FromFile string `help:"Read more names from a file, one a line, with # comments; - is stdin." placeholder:"FILE" env:"FOREMAN_FROM_FILE"`
	Output   string `short:"o" help:"Format: text, json, github (workflow annotations) or junit." enum:"text,json,github,junit" default:"text" env:"FOREMAN_VALIDATE_OUTPUT"`
}

// Run tells of each model whether it is installed. It is a yes if all are.
func (c *validateCmd) Run(ctx context.Context, e *env) error {
	names, err := c.wanted(e)
	if err != nil {
		return usageError{err}
	}
	a, err := c.asker(e)
	if err != nil {
		return err
	}
	r, err := try(ctx, c.Wait, func() (report, bool, error) {
		r, err := validate(ctx, a, names)
		return r, err == nil && r.ok(), err
	})
	if err != nil {
		return err
	}
	e.warnOfAge(r.origin)
	if err := e.report(r, c.Output); err != nil {
		return err
	}
	if !r.ok() {
		return errNo
	}
	return nil
}

// wanted is a name to look for, and where it was asked for.
type wanted struct {
	name string
	file string // "" if on the command line
	line int
}

func (c *validateCmd) wanted(e *env) ([]wanted, error) {
	var names []wanted
	for _, name := range c.Models {
		names = append(names, wanted{name: name})
	}
	switch c.FromFile {
	case "":
	case "-":
		more, err := readNames(e.stdin, "")
		if err != nil {
			return nil, fmt.Errorf("read names from stdin: %w", err)
		}
		names = append(names, more...)
	default:
		f, err := os.Open(c.FromFile)
		if err != nil {
			return nil, fmt.Errorf("read names: %w", err)
		}
		defer f.Close()
		more, err := readNames(f, c.FromFile)
		if err != nil {
			return nil, fmt.Errorf("read names from %s: %w", c.FromFile, err)
		}
		names = append(names, more...)
	}
	if len(names) == 0 {
		return nil, errors.New("no models named: write their names, or --from-file FILE")
	}
	return names, nil
}

// readNames reads one name a line. What follows a # is a comment: no name
// has one.
func readNames(r io.Reader, file string) ([]wanted, error) {
	var names []wanted
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if !utf8.Valid(lines.Bytes()) || bytes.IndexByte(lines.Bytes(), 0) >= 0 {
			return nil, fmt.Errorf("line %d is no text", n)
		}
		name, _, _ := strings.Cut(lines.Text(), "#")
		name = strings.TrimSpace(strings.TrimPrefix(name, "\uFEFF"))
		if name != "" {
			names = append(names, wanted{name: name, file: file, line: n})
		}
	}
	return names, lines.Err()
}

// A verdict is about one name.
type verdict struct {
	wanted
	installed string   // the model's own name, "" if it is missing
	near      []string // if it is missing, what may have been meant
}

// A report is all verdicts, and the list they rest on.
type report struct {
	origin
	verdicts []verdict
	took     time.Duration
}

func (r report) missing() []verdict {
	var missing []verdict
	for _, v := range r.verdicts {
		if v.installed == "" {
			missing = append(missing, v)
		}
	}
	return missing
}

func (r report) ok() bool { return len(r.missing()) == 0 }

// validate looks the names up. Before it says that one is missing, a daemon
// has another look at its target.
func validate(ctx context.Context, a *asker, names []wanted) (report, error) {
	began := time.Now()
	list, err := ask(ctx, a, installed, false)
	if err != nil {
		return report{}, err
	}
	r := report{list.origin, judge(names, list.models), time.Since(began)}
	if r.ok() || r.source == sourceTarget {
		return r, nil
	}
	if list, err = ask(ctx, a, installed, true); err != nil {
		return report{}, err
	}
	r = report{list.origin, judge(names, list.models), time.Since(began)}
	if !r.ok() && (r.stale || r.degraded) && time.Since(r.asOf) > core.AbsenceLasts {
		return report{}, fmt.Errorf("%w whether '%s' is installed: the target can't be asked%s, and its list is from %s",
			errCantTell, r.missing()[0].name, inBrackets(string(r.reason)), ago(r.asOf))
	}
	return r, nil
}

func judge(names []wanted, models []core.Model) []verdict {
	byName := make(map[core.ModelName]string, len(models))
	all := make([]string, len(models))
	for i, m := range models {
		all[i] = m.Name
		byName[core.NameOf(m.Name)] = m.Name
	}
	verdicts := make([]verdict, len(names))
	for i, w := range names {
		verdicts[i].wanted = w
		for _, name := range slices.Backward(core.Meanings(w.name)) { // the likeliest counts
			verdicts[i].installed = cmp.Or(byName[name], verdicts[i].installed)
		}
		if verdicts[i].installed == "" {
			verdicts[i].near = core.Near(w.name, all)
		}
	}
	return verdicts
}

// sentence tells that the model is missing in the words of the API.
func (v verdict) sentence() string { return api.NotFound(v.name, v.near) }
