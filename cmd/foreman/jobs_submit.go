package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

type jobsSubmitCmd struct {
	File string `arg:"" optional:"" help:"The request, as the target's route takes it; - is stdin."`
	daemonFlag
	Model    string        `help:"Instead of a file: the model to ask." placeholder:"MODEL"`
	Prompt   string        `help:"Instead of a file: what to ask it; - is stdin." placeholder:"TEXT"`
	System   string        `help:"With --prompt: the system's words." placeholder:"TEXT"`
	Path     string        `help:"The target's route; else /api/generate for --prompt, and the one that a file looks like." placeholder:"/api/chat"`
	Priority core.Priority `help:"low, normal or high." default:"normal" placeholder:"high"`
	Key      string        `help:"A second submit with the same key is the first one's job." placeholder:"TEXT"`
	Expires  string        `help:"The job fails unless it begins until then: how long from now, or a time (RFC 3339)." placeholder:"90m"`
	Webhook  string        `help:"URL to which the job's changes are posted." placeholder:"URL"`
	Wait     bool          `help:"Wait, and print the answer instead of the ID."`
	answerFlags
	Output string `short:"o" help:"Format: text (the ID) or json." enum:"text,json" default:"text" env:"FOREMAN_JOBS_SUBMIT_OUTPUT"`
}

// Run submits one job.
func (c *jobsSubmitCmd) Run(ctx context.Context, e *env) error {
	request, err := c.request(e)
	if err != nil {
		return usageError{err}
	}
	client, err := c.open(e)
	if err != nil {
		return err
	}
	id, err := client.Submit(ctx, request)
	if err != nil {
		return e.refused(err)
	}
	switch {
	case c.Wait:
		e.say("job %s", id)
		w := c.waiter(e, client)
		w.heard = true
		return w.await(ctx, client, []string{id})
	case c.Output == "json":
		return c.printJSON(ctx, e, client, id)
	default:
		if e.isTerminal() {
			e.say("foreman jobs wait %s prints its answer", id)
		}
		return e.lines([]string{id})
	}
}

// printJSON tells what the job is. It has been submitted whatever goes wrong.
func (c *jobsSubmitCmd) printJSON(ctx context.Context, e *env, client *api.Client, id string) error {
	job, err := client.Job(ctx, id)
	if err != nil {
		return fmt.Errorf("job %s has been submitted: %w", id, err)
	}
	return e.json(jobDocument(job))
}

func (c *jobsSubmitCmd) request(e *env) (core.JobRequest, error) {
	request := core.JobRequest{Path: c.Path, Priority: c.Priority, Webhook: c.Webhook, IdempotencyKey: c.Key}
	var err error
	switch {
	case c.Wait && c.Output == "json":
		return request, errors.New("--wait prints the answer: --output=json can't be with it")
	case c.File != "" && (c.Model != "" || c.Prompt != "" || c.System != ""):
		return request, errors.New("there is a file, and --model, --prompt or --system: the file says all that")
	case c.File != "":
		request.Body, err = e.read(c.File)
	case c.Model == "" || c.Prompt == "":
		return request, errors.New("nothing to submit: name a file, or - for stdin, or write --model and --prompt")
	default:
		request.Body, err = c.compose(e)
	}
	if err != nil {
		return request, err
	}
	if request.Path == "" {
		request.Path = usualPath(request.Body)
	}
	if request.ExpiresAt, err = c.expiry(time.Now()); err != nil {
		return request, fmt.Errorf("--expires is %w", err)
	}
	return request, nil
}

// expiry is what --expires says. With a key a time that has passed is no
// mistake yet: only the daemon knows whether it has that job already.
func (c *jobsSubmitCmd) expiry(now time.Time) (*time.Time, error) {
	if at, err := time.Parse(time.RFC3339, c.Expires); err == nil && c.Key != "" {
		return &at, nil
	}
	return core.ParseExpiry(c.Expires, now)
}

// read returns all of a file, or of stdin for "-".
func (e *env) read(file string) ([]byte, error) {
	if file == "-" {
		all, err := io.ReadAll(e.stdin)
		if err != nil {
			return nil, fmt.Errorf("read stdin: %w", err)
		}
		return all, nil
	}
	all, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	return all, nil
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// compose is --prompt in the words of the route.
func (c *jobsSubmitCmd) compose(e *env) ([]byte, error) {
	prompt := c.Prompt
	if prompt == "-" {
		text, err := e.read("-")
		if err != nil {
			return nil, err
		}
		prompt = string(text)
	}
	if !utf8.ValidString(prompt) {
		return nil, errors.New("the prompt is no text: it isn't UTF-8")
	}
	body := map[string]any{"model": c.Model}
	switch path := cmp.Or(c.Path, "/api/generate"); path {
	case "/api/generate":
		body["prompt"] = prompt
		if c.System != "" {
			body["system"] = c.System
		}
	case "/api/chat", "/v1/chat/completions":
		messages := []chatMessage{{"system", c.System}, {"user", prompt}}
		if c.System == "" {
			messages = messages[1:]
		}
		body["messages"] = messages
	default:
		return nil, fmt.Errorf("--prompt isn't for %s: write its request to a file", path)
	}
	return json.Marshal(body)
}

// usualPath is the route that takes such a body.
func usualPath(body []byte) string {
	switch said := gjson.ParseBytes(body); {
	case said.Get("messages").Exists():
		return "/api/chat"
	case said.Get("prompt").Exists():
		return "/api/generate"
	case said.Get("input").Exists():
		return "/api/embed"
	default:
		return "/api/chat"
	}
}
