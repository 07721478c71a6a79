// Command bench measures the figures that foreman promises and prints them as
// one table; it exits with 1 if one is missed. From the module's root:
//
//	go run ./testdata/bench [-run REGEXP]
//
// Each time is judged by its ratio to a reference that is measured in turn
// with it, so a slow or a busy machine slows both. Servers are processes of
// their own: this executable in another role (role.go), or bin/foreman.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

// bench is what every measurement needs.
type bench struct {
	foreman string // path of the executable, absolute
	target  string // base URL; a path N leads to a target with N models
	dir     string // for files of this run
}

// groups are the measurements, by the name that -run matches.
var groups = []struct {
	name    string
	measure func(context.Context, *bench) ([]figure, error)
}{
	{"lists", measureLists},
	{"unchanged", measureUnchanged},
	{"growth", measureGrowth},
	{"changed", measureChanged},
	{"commands", measureCommands},
	{"streams", measureStreams},
	{"missing", measureMissing},
	{"held", measureHeld},
	{"reload", measureReload},
	{"outages", measureOutages},
	{"schedule", measureSchedule},
	{"million", measureMillion},
	{"deaths", measureDeaths},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			fatal(play(ctx, role, os.Args[2:]))
			return
		}
	}
	foreman := flag.String("foreman", filepath.Join("bin", "foreman"), "the executable to measure")
	run := flag.String("run", "", "measure only the groups whose name matches: lists, unchanged, growth, changed, commands, streams, missing, held, reload, outages, schedule, million, deaths, idle")
	flag.Parse()
	only, err := regexp.Compile(*run)
	fatal(err)
	figures, err := measure(ctx, *foreman, only)
	printTable(os.Stdout, figures)
	fatal(err)
	if missed(figures) {
		os.Exit(1)
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure measures the groups that only matches. Where one fails, it returns
// the figures of those before it, too.
func measure(ctx context.Context, foreman string, only *regexp.Regexp) (figures []figure, err error) {
	b := new(bench)
	if b.foreman, err = filepath.Abs(foreman); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(b.foreman); err != nil {
		return nil, fmt.Errorf("%w; run make build", err)
	}
	if b.dir, err = os.MkdirTemp("", "foreman-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = cmp.Or(err, os.RemoveAll(b.dir)) }()
	target, err := startRole(ctx, "target")
	if err != nil {
		return nil, err
	}
	defer target.stop()
	b.target = target.url

	// One daemon idles while all the others are measured: its own processor
	// time is counted, which they don't add to.
	idle, err := startIdle(ctx, b, only.MatchString("idle"))
	if err != nil {
		return nil, err
	}
	defer idle.stop()
	for _, group := range groups {
		if !only.MatchString(group.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s ...\n", group.name)
		more, err := group.measure(ctx, b)
		figures = append(figures, more...)
		if err != nil {
			return figures, fmt.Errorf("%s: %w", group.name, err)
		}
	}
	more, err := idle.figures(ctx)
	return append(figures, more...), err
}
