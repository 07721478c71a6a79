package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

const commandRounds = 50

// mostJudged is how many models a target may have for its figures to be
// judged. Beyond, the time goes into reading the list, which curl doesn't do;
// a real Ollama takes a tenth of a second to list 1,000, this one no time.
const mostJudged = 100

// measureCommands compares foreman inventory, a whole process, with curl.
func measureCommands(ctx context.Context, b *bench) ([]figure, error) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		return []figure{skipped("foreman inventory against curl", "curl isn't installed")}, nil
	}
	var figures []figure
	for _, models := range []int{10, 100, 1000} {
		for _, measure := range []func(context.Context, *bench, string, int) ([]figure, error){withDaemon, withoutDaemon} {
			more, err := measure(ctx, b, curl, models)
			for _, f := range more {
				if models > mostJudged {
					f = seen(f)
				}
				figures = append(figures, f)
			}
			if err != nil {
				return figures, err
			}
		}
	}
	return figures, nil
}

func withDaemon(ctx context.Context, b *bench, curl string, models int) ([]figure, error) {
	d, err := startDaemon(ctx, b, b.targetOf(models))
	if err != nil {
		return nil, err
	}
	defer d.stop()
	c, err := interleaved(ctx, commandRounds,
		wall(func() *exec.Cmd { return d.command(ctx, "inventory", "--source", "daemon") }),
		wall(func() *exec.Cmd { return command(ctx, curl, "-sS", d.url()+"/api/tags") }))
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("foreman inventory of %d models from a daemon, against curl", models)
	return []figure{timeAtMost(what, c, 1.5)}, nil
}

// withoutDaemon measures both ways to get there: told to ask the target, and
// finding no daemon.
func withoutDaemon(ctx context.Context, b *bench, curl string, models int) ([]figure, error) {
	s, err := newSetup(b, b.targetOf(models))
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, source := range []string{"target", "auto"} {
		c, err := interleaved(ctx, commandRounds,
			wall(func() *exec.Cmd { return s.command(ctx, "inventory", "--source", source) }),
			wall(func() *exec.Cmd { return command(ctx, curl, "-sS", b.targetOf(models)+"/api/tags") }))
		if err != nil {
			return figures, err
		}
		what := fmt.Sprintf("foreman inventory of %d models from the target (--source %s), against curl", models, source)
		figures = append(figures, timeAtMost(what, c, 3))
	}
	return figures, nil
}

// wall measures a process from its start to its end. What it writes to stdout
// goes to the null device.
func wall(cmd func() *exec.Cmd) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		c := cmd()
		began := time.Now()
		if err := c.Run(); err != nil {
			return 0, fmt.Errorf("%v: %w", c.Args, err)
		}
		return time.Since(began), nil
	}
}
