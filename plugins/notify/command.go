package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// A command is run for each event, never by a shell: the event's JSON is on
// its stdin, FOREMAN_EVENT_TYPE and FOREMAN_EVENT_ID are in its environment,
// which else holds what [plugin.Env] allows. The event has arrived if it
// exits with 0.
//
// At the end of the context it is killed with its process group. What it
// leaves in the background as it exits is left alone; so is a command under
// way if this process ends, and the event then comes again.
type command struct {
	argv []string
}

const (
	// outputGrace is how long output is waited for after the command's end:
	// a child in the background may hold it open for ever.
	outputGrace = 100 * time.Millisecond

	maxOutput = 4 << 10 // bytes of the output's end that are kept
)

// Configure only warns of a command that can't be run now: its file system
// may come later than foreman.
func (c *command) Configure(_ context.Context, settings json.RawMessage) error {
	var s struct {
		table
		Argv []string `json:"argv"`
	}
	if err := plugin.Decode(settings, &s); err != nil {
		return err
	}
	switch {
	case len(s.Argv) == 0 || s.Argv[0] == "":
		return errors.New(`argv: want a command and its arguments, such as ["/usr/local/bin/page", "ops"]`)
	case !filepath.IsAbs(s.Argv[0]) && strings.ContainsRune(s.Argv[0], filepath.Separator):
		return errors.New("argv: the command must be an absolute path, or a name to be found in PATH")
	}
	for _, arg := range s.Argv {
		if strings.ContainsRune(arg, 0) {
			return errors.New("argv: an argument can't hold a null character")
		}
	}
	if _, err := exec.LookPath(s.Argv[0]); err != nil {
		fmt.Fprintf(os.Stderr, "argv: %s; foreman tries again at each event\n", oneLine(err.Error()))
	}
	c.argv = s.Argv
	return nil
}

func (c *command) Notify(ctx context.Context, event core.Event) error {
	input, err := eventJSON(event)
	if err != nil {
		return err
	}
	var out tail
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &out
	cmd.Env = append(plugin.Env(), "FOREMAN_EVENT_TYPE="+string(event.Type), "FOREMAN_EVENT_ID="+event.ID)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputGrace
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	err = cmd.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // which is told after an exit with 0 only
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s didn't end in time and was killed: %w", filepath.Base(c.argv[0]), ctx.Err())
	case !exited:
		return errors.New(oneLine(err.Error()))
	}
	return fmt.Errorf("%s: %s%s", filepath.Base(c.argv[0]), exit.ProcessState, out.lastLine())
}

// A tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - maxOutput; extra > 0 {
		*t = append((*t)[:0], (*t)[extra:]...)
	}
	return len(p), nil
}

// lastLine is the last line that isn't blank, with ": " in front; or "".
func (t *tail) lastLine() string {
	text := strings.TrimSpace(string(*t))
	if text = oneLine(text[strings.LastIndexByte(text, '\n')+1:]); text == "" {
		return ""
	}
	return ": " + text
}
