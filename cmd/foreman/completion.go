package main

import (
	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements kong's interface.
func (completionCmd) Help() string {
	return "Put this into your shell's startup file:\n\n    source <(foreman completion bash)\n    source <(foreman completion zsh)\n    foreman completion fish | source"
}

// Run prints the code, where kong-completion by itself would print how to get
// at it.
func (c *completionCmd) Run(ctx *kong.Context) error {
	return (&kongcompletion.Completion{Shell: c.Shell, Code: true}).Run(ctx)
}
