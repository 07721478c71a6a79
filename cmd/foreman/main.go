// Command foreman stands in front of one Ollama server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
)

// Exit codes, the same for every command.
const (
	exitYes         = 0
	exitNo          = 1   // missing, degraded
	exitUsage       = 2   // a wrong flag or config
	exitCantTell    = 3   // nothing answers and there is no inventory, or whatever else went wrong
	exitNotAllowed  = 4   // the daemon or the target wants a token
	exitInterrupted = 130 // by Ctrl-C, before there was an answer
)

// errNo ends a command whose answer is no. It has been told already.
var errNo = errors.New("no")

// errCantTell wraps what kept a command from any answer.
var errCantTell = errors.New("can't tell")

// grammar is the command line.
type grammar struct {
	Config  string           `help:"Config file; else ./foreman.toml or foreman/foreman.toml in the XDG config home." placeholder:"FILE" env:"FOREMAN_CONFIG"`
	Version kong.VersionFlag `help:"Print the version and how it was built."`

	Serve      serveCmd      `cmd:"" help:"Poll the target and answer for it, until stopped."`
	Inventory  inventoryCmd  `cmd:"" help:"List the installed models."`
	PS         psCmd         `cmd:"" name:"ps" help:"List the resident models."`
	Validate   validateCmd   `cmd:"" help:"Check that models are installed."`
	Health     healthCmd     `cmd:"" help:"Tell how the daemon and its target are."`
	Jobs       jobsCmd       `cmd:"" help:"Give the daemon work for later, and see what becomes of it."`
	Notify     notifyCmd     `cmd:"" help:"Try the notifiers."`
	Plugins    pluginsCmd    `cmd:"" help:"See the plugins."`
	ConfigCmd  configCmd     `cmd:"" name:"config" help:"Check the config."`
	Completion completionCmd `cmd:"" help:"Print shell code that completes foreman's commands."`
	Plugin     pluginCmd     `cmd:"" hidden:"" help:"Serve a built-in plugin; foreman runs this itself."`
}

// env is what a command has of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	configFlag     string
}

// load reads the config that the command line, the environment or the
// working directory names.
func (e *env) load() (config.Config, error) {
	path, err := config.Find(e.configFlag, e.getenv)
	if err != nil {
		return config.Default(e.getenv), err
	}
	return config.Load(path, e.getenv)
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	var g grammar
	parser, err := kong.New(&g, kong.Name("foreman"),
		kong.Description("Stands in front of one Ollama server: knows its models, answers for it while it sleeps."),
		kong.Vars{"version": versionText()},
		kong.Writers(e.stdout, e.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(err) // the grammar itself is wrong
	}
	kongcompletion.Register(parser)
	kctx, err := parser.Parse(args)
	if err != nil {
		return e.fail(usageError{misuse(err)})
	}
	e.configFlag = g.Config

	// The first signal ends ctx; then they have their usual effect again, so
	// that a second one ends foreman at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	kctx.BindTo(ctx, (*context.Context)(nil))
	return e.fail(kctx.Run(e))
}

// usageError is a command line that foreman doesn't understand.
type usageError struct{ error }

// misuse is an error of the parser with the command whose help explains.
func misuse(err error) error {
	command := "foreman"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		command = parse.Context.Selected().FullPath()
	}
	return fmt.Errorf("%w; see %s --help", err, command)
}

// fail tells err on stderr, in one line, and returns the exit code it means.
func (e *env) fail(err error) int {
	var usage usageError
	var conf *config.Error
	code := exitCantTell
	switch {
	case err == nil:
		return exitYes
	case errors.Is(err, errNo):
		return exitNo
	case errors.Is(err, context.Canceled):
		e.say("foreman: interrupted")
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &conf):
		code = exitUsage
	case errors.Is(err, api.ErrNotAllowed):
		code = exitNotAllowed
	}
	e.say("foreman: %v", err)
	return code
}
