package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
)

func TestSubmitComposesTheRequest(t *testing.T) {
	for _, tt := range []struct {
		cmd  jobsSubmitCmd
		path string
		body string
	}{
		{jobsSubmitCmd{Model: "m", Prompt: "why?\n\"<"}, "/api/generate", `{"model":"m","prompt":"why?\n\"<"}`},
		{jobsSubmitCmd{Model: "m", Prompt: "-", System: "be brief"}, "/api/generate", `{"model":"m","prompt":"from stdin\n","system":"be brief"}`},
		{jobsSubmitCmd{Model: "m", Prompt: "p", Path: "/api/chat"}, "/api/chat", `{"model":"m","messages":[{"role":"user","content":"p"}]}`},
		{jobsSubmitCmd{Model: "m", Prompt: "p", System: "s", Path: "/v1/chat/completions"}, "/v1/chat/completions",
			`{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"p"}]}`},
	} {
		request, err := tt.cmd.request(&env{stdin: strings.NewReader("from stdin\n")})
		var got, want any
		if json.Unmarshal(request.Body, &got) != nil || json.Unmarshal([]byte(tt.body), &want) != nil || !cmp.Equal(want, got) || request.Path != tt.path || err != nil {
			t.Errorf("%+v: %s %s, %v\nwant %s", tt.cmd, request.Path, request.Body, err, tt.body)
		}
	}
}

// A body goes as it is, to the route that it looks like.
func TestSubmitTakesABody(t *testing.T) {
	for body, path := range map[string]string{
		`{"model":"m","messages":[]}`:                                     "/api/chat",
		"{ \"prompt\" : \"é\\u00e9\",\n\"model\":\"m\", \"keep\":1.50}\n": "/api/generate",
		`{"model":"m","input":["a"]}`:                                     "/api/embed",
		`{"model":"m"}`:                                                   "/api/chat",
		`{`:                                                               "/api/chat", // the daemon says what is wrong
	} {
		for _, asked := range []string{"", "/v1/completions"} {
			cmd := jobsSubmitCmd{File: "-", Path: asked, Priority: core.PriorityHigh, Key: "k", Webhook: "http://x"}
			want := core.JobRequest{Path: asked, Body: []byte(body), Priority: core.PriorityHigh, IdempotencyKey: "k", Webhook: "http://x"}
			if asked == "" {
				want.Path = path
			}
			got, err := cmd.request(&env{stdin: strings.NewReader(body)})
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v, %s", err, diff)
			}
		}
	}
}

func TestSubmitIsMisused(t *testing.T) {
	for want, cmd := range map[string]jobsSubmitCmd{
		"nothing to submit: name a file, or - for stdin, or write --model and --prompt": {Model: "m"},
		"there is a file, and --model, --prompt or --system: the file says all that":    {File: "-", Model: "m"},
		"--wait prints the answer: --output=json can't be with it":                      {Model: "m", Prompt: "p", Wait: true, Output: "json"},
		"--prompt isn't for /v1/responses: write its request to a file":                 {Model: "m", Prompt: "p", Path: "/v1/responses"},
		"the prompt is no text: it isn't UTF-8":                                         {Model: "m", Prompt: "-"},
		"read the request: open no/such/file: no such file or directory":                {File: "no/such/file"},
	} {
		if _, err := cmd.request(&env{stdin: strings.NewReader("\xff")}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// With a key it is the daemon's to say whether a time that has passed is a
// mistake: a script that is run again gives the same one.
func TestSubmitOfAKnownJobThatHasExpired(t *testing.T) {
	past := time.Date(2026, 1, 31, 18, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		key, expires string
		want         *time.Time
	}{
		{"k", "2026-01-31T18:00:00Z", &past},
		{"", "2026-01-31T18:00:00Z", nil},
		{"k", "-90m", nil},
		{"k", "yesterday", nil},
	} {
		cmd := jobsSubmitCmd{Model: "m", Prompt: "p", Key: tt.key, Expires: tt.expires}
		request, err := cmd.request(&env{})
		if diff := cmp.Diff(tt.want, request.ExpiresAt); diff != "" || (err == nil) != (tt.want != nil) {
			t.Errorf("with key %q, %s: %v, %s", tt.key, tt.expires, err, diff)
		}
	}
}

// fakeDaemon answers GET /jobs with its jobs, the last first, and GET /queue.
func fakeDaemon(t *testing.T, jobs []core.Job, queue string) daemonFlag {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "foreman/test")
		if r.URL.Path == "/queue" {
			if queue == "" {
				w.WriteHeader(http.StatusNotFound)
			}
			fmt.Fprint(w, queue)
			return
		}
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		if limit < 1 || limit > 500 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		end := len(jobs)
		if cursor := r.FormValue("cursor"); cursor != "" {
			end, _ = strconv.Atoi(cursor)
		}
		page := api.JobsPage{Jobs: []core.Job{}}
		for ; end > 0 && len(page.Jobs) < limit; end-- {
			page.Jobs = append(page.Jobs, jobs[end-1])
		}
		if end > 0 {
			page.Next = strconv.Itoa(end)
		}
		_ = json.NewEncoder(w).Encode(page) // the client would say so
	}))
	t.Cleanup(server.Close)
	return daemonFlag{Listen: server.Listener.Addr().String()}
}

// homely is an environment with a home and nothing else.
func homely(t *testing.T) func(string) string {
	home := t.TempDir()
	return func(name string) string { return map[string]string{"HOME": home}[name] }
}

func TestListGoesThroughAllPages(t *testing.T) {
	var jobs []core.Job
	for i := range 1203 {
		jobs = append(jobs, core.Job{ID: strconv.Itoa(i)})
	}
	daemon := fakeDaemon(t, jobs, "")
	for limit, want := range map[int]struct {
		count int
		words string
	}{
		0:    {count: 1203},
		1:    {count: 1},
		500:  {count: 500},
		501:  {count: 501},
		1000: {1000, "these are the newest 1000; --limit 0 lists all\n"},
		1203: {count: 1203},
		5000: {count: 1203},
	} {
		var out, words bytes.Buffer
		e := &env{stdout: &out, stderr: &words, getenv: homely(t)}
		if err := (&jobsListCmd{daemonFlag: daemon, State: "all", Limit: limit, Output: "name"}).Run(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		ids := strings.Fields(out.String())
		if len(ids) != want.count || ids[0] != "1202" || ids[len(ids)-1] != strconv.Itoa(1203-want.count) || words.String() != want.words {
			t.Errorf("--limit %d: %d from %s to %s, %q", limit, len(ids), ids[0], ids[len(ids)-1], words.String())
		}
	}
}

func TestJobRows(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	job := func(old time.Duration, change func(*core.Job)) core.Job {
		j := core.Job{ID: "J", State: core.JobDone, Model: "m", CreatedAt: now.Add(-old), Attempt: 1}
		if change != nil {
			change(&j)
		}
		return j
	}
	got := jobRows([]core.Job{
		job(-time.Second, func(j *core.Job) {
			j.State, j.Position, j.Priority, j.Attempt = core.JobQueued, new(12), core.PriorityHigh, 0
		}),
		job(59*time.Second, nil), job(59*time.Minute, nil), job(23*time.Hour, nil), job(49*time.Hour, nil),
	}, now)
	want := [][]string{
		{"ID", "STATE", "MODEL", "PRIORITY", "ATTEMPT", "AGE", "POSITION"},
		{"J", "queued", "m", "high", "0", "0s", "12"},
		{"J", "done", "m", "normal", "1", "59s", "-"},
		{"J", "done", "m", "normal", "1", "59m", "-"},
		{"J", "done", "m", "normal", "1", "23h", "-"},
		{"J", "done", "m", "normal", "1", "2d", "-"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestShowTellsAll(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	at := func(d time.Duration) *time.Time { u := now.Add(d).UTC(); return &u }
	got := jobFields(core.Job{
		ID: "J", State: core.JobQueued, Model: "m", Path: "/api/chat", Priority: core.PriorityLow, Caller: "bob", Position: new(3),
		CreatedAt: *at(-time.Hour), NotBefore: at(30*time.Second + time.Millisecond), StartedAt: at(-time.Minute), ExpiresAt: at(time.Hour + time.Millisecond),
		Attempt: 1, Attempts: []core.Attempt{
			{At: *at(-2 * time.Minute), EndedAt: at(-2 * time.Minute).Add(1234 * time.Millisecond), Reason: core.ReasonRefused, Error: "refused"},
			{At: *at(-time.Minute), EndedAt: *at(-59 * time.Second), Reason: "http_500", Error: "no", Counts: true},
		},
		Error: "no", Webhook: "http://x", IdempotencyKey: "k",
	}, now)
	want := []field{
		{label: "id", value: "J"}, {label: "state", value: "queued, 3rd for its model"}, {label: "model", value: "m"},
		{label: "path", value: "/api/chat"}, {label: "priority", value: "low"}, {label: "caller", value: "bob"},
		{label: "created", value: absolute(*at(-time.Hour)) + ", 1 hour ago"},
		{label: "due", value: absolute(*at(30 * time.Second)) + ", in 30 seconds"},
		{label: "started", value: absolute(*at(-time.Minute)) + ", 1 minute ago"},
		{label: "expires", value: absolute(*at(time.Hour)) + ", in 1 hour"},
		{label: "webhook", value: "http://x"}, {label: "key", value: "k"},
		{label: "attempt", value: absolute(*at(-2 * time.Minute)) + ", took 1.2s, refused, doesn't count: refused"},
		{label: "attempt", value: absolute(*at(-time.Minute)) + ", took 1s, http_500: no"},
		{label: "error", value: "no", colour: red},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(field{})); diff != "" {
		t.Error(diff)
	}
	got = jobFields(core.Job{State: core.JobDone, Status: 200}, now)
	if diff := cmp.Diff(field{label: "state", value: "done, status 200", colour: green}, got[1], cmp.AllowUnexported(field{})); diff != "" {
		t.Error(diff)
	}
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)

// boards are queues, and how jobs list and ps tell them.
var boards = []struct {
	queue api.Queue
	list  []string // running, next, swaps, jobs
	ps    string
}{
	{api.Queue{}, []string{"nothing", "nothing", "0 to come", "nothing"}, ""},
	{
		api.Queue{Model: "a:latest", Running: []api.QueueEntry{{Model: "a", Job: "J1"}, {Model: "A:latest", Caller: "bob"}, {Model: "a"}}},
		[]string{"a for job J1, A:latest for bob, a for a caller", "nothing", "0 to come", "nothing"},
		"a runs",
	},
	{
		api.Queue{
			Model: "b:latest", Loading: true, Swaps: 3, Jobs: map[core.JobState]int{core.JobQueued: 7, core.JobLoading: 1, core.JobFailed: 0, core.JobDone: 2},
			Running: []api.QueueEntry{{Model: "b", Job: "J1"}},
			Waiting: []api.QueueEntry{{Model: "b"}, {Model: "b:latest"}, {Model: "a"}, {Model: "a"}, {Model: "b"}, {Model: "c"}},
		},
		[]string{"b for job J1, being loaded", "b, a, b, c", "3 to come", "7 queued, 1 loading, 2 done"},
		"b:latest is being loaded; next b, a, b, c; 3 swaps to come",
	},
	{
		api.Queue{Model: "b:latest", Loading: true, Swaps: 1, Waiting: []api.QueueEntry{{Model: "b"}}},
		[]string{"b:latest, being loaded", "b", "1 to come", "nothing"},
		"b:latest is being loaded; next b; 1 swap to come",
	},
	{
		api.Queue{Model: "a:latest", IdleUntil: &noon, Swaps: 1, Waiting: []api.QueueEntry{{Model: "b"}}},
		[]string{"nothing: until 12:00:00 the next request for a:latest is waited for", "b", "1 to come", "nothing"},
		"nothing runs: until 12:00:00 the next request for a:latest is waited for; next b; 1 swap to come",
	},
	{
		api.Queue{Waiting: []api.QueueEntry{{Model: "b"}}}, []string{"nothing", "b", "0 to come", "nothing"},
		"nothing runs; next b; 0 swaps to come",
	},
}

func TestTheBoardIsTold(t *testing.T) {
	for _, tt := range boards {
		var got []string
		for _, f := range boardFields(tt.queue) {
			got = append(got, f.value)
		}
		if diff := cmp.Diff(tt.list, got); diff != "" {
			t.Error(diff)
		}
		if got := queueText(&tt.queue); got != tt.ps {
			t.Errorf("ps: %q, want %q", got, tt.ps)
		}
	}
	if got := queueText(nil); got != "" {
		t.Errorf("ps: %q of no queue", got)
	}
}

// Rows are for scripts: what is above them comes only where it is asked for.
func TestTheBoardStaysOutOfScripts(t *testing.T) {
	const queue = `{"model":"a","running":[],"waiting":[{"model":"b"}],"swaps":1}`
	jobs := []core.Job{{ID: "J", State: core.JobQueued, Model: "b", CreatedAt: time.Now()}}
	row := "ID   STATE    MODEL   PRIORITY   ATTEMPT   AGE   POSITION\nJ    queued   b       normal     0         0s    -\n"
	board := "running    nothing\nnext       b\nswaps      1 to come\njobs       nothing\n\n"
	for _, tt := range []struct {
		board bool
		queue string
		want  string
	}{{false, queue, row}, {true, queue, board + row}, {true, "", row}} {
		var out bytes.Buffer
		e := &env{stdout: &out, getenv: homely(t)}
		cmd := jobsListCmd{daemonFlag: fakeDaemon(t, jobs, tt.queue), State: "all", Board: tt.board, Output: "table"}
		if err := cmd.Run(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, out.String()); diff != "" {
			t.Error(diff)
		}
	}
}
