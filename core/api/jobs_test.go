package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

func TestAJobIsSubmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		f := start(t, tiny(), nil, s.options, withTokens)
		body := "{ \"model\":\"tiny\",\n\t\"future\":\"\\u0000\" }"
		got := f.do("POST", "/jobs?path=/api/generate", body, "X-Api-Key: bob secret", "Content-Type: application/x-www-form-urlencoded",
			"Idempotency-Key: k1", "Foreman-Priority: high", "Foreman-Webhook: https://example.com/hook?a=b", "Foreman-Expires: 90m")
		got.says(t, 202, `{"job_id":"J1"}`)
		if got.header.Get("Location") != "/jobs/J1" {
			t.Errorf("%v", got.header)
		}
		expires := time.Now().UTC().Add(90 * time.Minute)
		want := core.JobRequest{
			Path: "/api/generate", Model: "tiny", Body: []byte(body), Priority: core.PriorityHigh, Caller: "bob",
			Webhook: "https://example.com/hook?a=b", IdempotencyKey: "k1", ExpiresAt: &expires,
		}
		if diff := cmp.Diff(want, s.asked["J1"]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		f.do("POST", "/jobs", asksTiny, "X-Api-Key: bob secret", "Content-Encoding: gzip").says(t, 400,
			`{"error":"the request's body is not gzip, as its Content-Encoding says"}`)
		f.do("POST", "/jobs", asksTiny, "X-Api-Key: bob secret").says(t, 202, `{"job_id":"J2"}`)
		want = core.JobRequest{Path: "/api/chat", Model: "tiny", Body: []byte(asksTiny), Caller: "bob"}
		if diff := cmp.Diff(want, s.asked["J2"]); diff != "" {
			t.Errorf("with nothing said (-want +got):\n%s", diff)
		}
	})
}

func TestSubmittingAgain(t *testing.T) {
	f := start(t, tiny(), nil, newShelf().options)
	const key = "Idempotency-Key: again"
	for range 3 {
		got := f.do("POST", "/jobs", asksTiny, key)
		got.says(t, 202, `{"job_id":"J1"}`)
		if got.header.Get("Location") != "/jobs/J1" {
			t.Errorf("%v", got.header)
		}
	}
	f.do("POST", "/jobs", `{"model":"tiny","n":2}`, key).says(t, 422, `{"error":"Idempotency-Key \"again\" came with another request before"}`)
	f.do("POST", "/jobs", asksTiny).says(t, 202, `{"job_id":"J2"}`)
}

// A repeat has the answer from then, though a new job would be refused now.
func TestSubmittingAgainWhatWouldBeRefused(t *testing.T) {
	s := newShelf()
	const key = "Idempotency-Key: again"
	start(t, tiny(), nil, s.options).do("POST", "/jobs", asksTiny, key).says(t, 202, `{"job_id":"J1"}`)
	s.most = 1
	f := start(t, found(named("other:latest")), nil, s.options)
	f.do("POST", "/jobs", asksTiny, key).says(t, 202, `{"job_id":"J1"}`)
	f.do("POST", "/jobs", asksTiny, key, "Foreman-Expires: 2020-01-01T00:00:00Z").says(t, 202, `{"job_id":"J1"}`)
	f.do("POST", "/jobs", `{"model":"tiny","n":2}`, key).says(t, 422, `{"error":"Idempotency-Key \"again\" came with another request before"}`)
	if got := f.do("POST", "/jobs", asksTiny, "Idempotency-Key: new"); got.status != 404 {
		t.Errorf("a new one: %d %s", got.status, got.body)
	}
}

func TestSubmitsThatAreRefused(t *testing.T) {
	const (
		paths = "want one of /api/chat, /api/embed, /api/embeddings, /api/generate, /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/messages, /v1/responses"
		when  = "want a time to come, such as 2027-01-31T18:00:00Z, or how long from now, such as 90m"
		away  = "foreman can't reach its target: refused"
	)
	v1Only := func(o *setup) {
		o.Upstream = func() (core.Upstream, error) { return core.Upstream{URL: upstream, V1Only: true}, nil }
	}
	neverSeen := after(nothing(), fails(core.ReasonRefused), fails(core.ReasonRefused), fails(core.ReasonRefused))
	for _, tt := range []struct {
		name, path, body, header string
		believed                 *core.Snapshot
		set                      func(*setup)
		status                   int
		why                      string
	}{
		{name: "not JSON", body: "x", status: 400, why: "the request's body is not JSON"},
		{name: "empty", status: 400, why: "missing request body"},
		{name: "no model", body: "{}", status: 400, why: "model is required"},
		{name: "two models", body: `{"model":"tiny","Model":"x"}`, status: 400, why: "the request's body has model twice"},
		{name: "too large", body: `{"model":"tiny","x":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413,
			why: "the request's body is over 1048576 bytes; server.max_body sets the limit"},
		{name: "brotli", body: "x", header: "Content-Encoding: br", status: 415,
			why: `Content-Encoding "br" isn't understood: send gzip, zstd or nothing`},
		{name: "missing", body: `{"model":"tiny2"}`, status: 404, why: "model 'tiny2' not found; did you mean 'tiny:latest'?"},
		{name: "missing, /v1", path: "?path=/v1/chat/completions", body: `{"model":"tiny2"}`, status: 404,
			why: "model 'tiny2' not found; did you mean 'tiny:latest'?"},
		{name: "who knows", body: asksTiny, believed: neverSeen, status: 503, why: away},
		{name: "no such path", path: "?path=/api/pull", body: asksTiny, status: 400, why: `path "/api/pull" does no work: ` + paths},
		{name: "an empty path", path: "?path=", body: asksTiny, status: 400, why: `path "" does no work: ` + paths},
		{name: "a path with more", path: "?path=/api/chat%3Fx", body: asksTiny, status: 400, why: `path "/api/chat?x" does no work: ` + paths},
		{name: "/v1 is off", path: "?path=/v1/messages", body: asksTiny, status: 400, why: `path "/v1/messages" does no work: ` + paths,
			set: func(o *setup) { o.OpenAI = false }},
		{name: "native on a /v1 target", body: asksTiny, set: v1Only, status: 501,
			why: "the target speaks only /v1; use path=/v1/chat/completions"},
		{name: "priority", body: asksTiny, header: "Foreman-Priority: urgent", status: 400,
			why: `Foreman-Priority: priority is "urgent": want low, normal or high`},
		{name: "webhook", body: asksTiny, header: "Foreman-Webhook: ftp://x/y", status: 400,
			why: `Foreman-Webhook is "ftp://x/y": want an http or https URL`},
		{name: "webhook of nobody", body: asksTiny, header: "Foreman-Webhook: https:///y", status: 400,
			why: `Foreman-Webhook is "https:///y": want an http or https URL`},
		{name: "no webhooks", body: asksTiny, header: "Foreman-Webhook: https://x/y", set: func(o *setup) { o.Jobs.(*shelf).mute = true },
			status: 400, why: "Foreman-Webhook: this foreman sends no webhooks; jobs.webhooks = true in its config allows them"},
		{name: "a plain webhook", body: asksTiny, header: "Foreman-Webhook: http://x/y", set: func(o *setup) { o.Jobs.(*shelf).secure = true },
			status: 400, why: "Foreman-Webhook: http:// is for private networks: want https://, or jobs.allow_private = true in foreman's config"},
		{name: "a long name that isn't checked", body: `{"model":"` + strings.Repeat("x", 600) + `:cloud"}`, status: 400,
			why: "the model's name is none: it is empty, or over 512 bytes"},
		{name: "expired", body: asksTiny, header: "Foreman-Expires: 2020-01-01T00:00:00Z", status: 400,
			why: `Foreman-Expires is "2020-01-01T00:00:00Z": ` + when},
		{name: "expires at once", body: asksTiny, header: "Foreman-Expires: 0s", status: 400, why: `Foreman-Expires is "0s": ` + when},
		{name: "expires some day", body: asksTiny, header: "Foreman-Expires: tomorrow", status: 400, why: `Foreman-Expires is "tomorrow": ` + when},
		{name: "key", body: asksTiny, header: "Idempotency-Key: " + strings.Repeat("k", 256), status: 400, why: "Idempotency-Key is over 255 bytes"},
		{name: "full", body: asksTiny, set: func(o *setup) { o.Jobs.(*shelf).most = 1 }, status: 503,
			why: "as many jobs wait as jobs.max_queued allows"},
		{name: "no room", body: asksTiny, set: func(o *setup) { o.Jobs.(*shelf).broken = fmt.Errorf("keep: %w", core.ErrDiskFull) }, status: 507,
			why: "foreman's disk is full, and it can't keep more jobs: free space on the disk of server.state_dir"},
		{name: "broken", body: asksTiny, set: func(o *setup) { o.Jobs.(*shelf).broken = errors.New("disk full") }, status: 500,
			why: "internal error; foreman's log says more"},
	} {
		believed := tt.believed
		if believed == nil {
			believed = tiny()
		}
		set := []func(*setup){newShelf(core.Job{ID: "J1"}).options}
		if tt.set != nil {
			set = append(set, tt.set)
		}
		header := []string{"X-Nothing: x"}
		if tt.header != "" {
			header[0] = tt.header
		}
		f := start(t, believed, nil, set...)
		got := f.do("POST", "/jobs"+tt.path, tt.body, header...)
		if got.status != tt.status || got.native(t) != tt.why || got.header.Get("Location") != "" {
			t.Errorf("%s: %d %q, want %d %q", tt.name, got.status, got.native(t), tt.status, tt.why)
		}
		if (got.header.Get("Retry-After") != "") != (tt.status == 503) {
			t.Errorf("%s: Retry-After %q", tt.name, got.header.Get("Retry-After"))
		}
	}
}

// As of a caller's request, a missing model is told to whom that concerns.
func TestAJobForAMissingModelIsNoticed(t *testing.T) {
	f := start(t, tiny(), nil, newShelf().options)
	f.do("POST", "/jobs", `{"model":"tiny2"}`)
	want := []core.MissingData{{Model: "tiny2", Route: "/jobs", Near: core.Names{"tiny:latest"}}}
	if diff := cmp.Diff(want, f.missed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A job waits for its turn after it is kept, not before.
func TestASubmitDoesNotWait(t *testing.T) {
	b := newBooth()
	b.place <- struct{}{}
	f := start(t, tiny(), nil, newShelf().options, b.options)
	f.do("POST", "/jobs", asksTiny).says(t, 202, `{"job_id":"J1"}`)
	if f.server.HoldsBodies() {
		t.Error("a job that is kept still takes part of what bodies may take")
	}
}

// morning is what times in tests are.
var morning = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func TestJobRoutes(t *testing.T) {
	const (
		noJob   = `{"error":"no such job: there never was, or it ended longer ago than jobs.ttl"}`
		running = `{"id":"run","state":"working","model":"tiny","path":"/api/chat","priority":"low","caller":"bob","created_at":"2026-11-23T08:00:00Z",` +
			`"not_before":null,"started_at":"2026-11-23T08:00:00Z","ended_at":null,"expires_at":null,"attempt":1,"attempts":[],"error":"","status":0,"position":null}`
	)
	short := func(id, state string) string {
		return `{"id":"` + id + `","state":"` + state + `","model":"","path":"","priority":"normal","caller":"","created_at":"0001-01-01T00:00:00Z",` +
			`"not_before":null,"started_at":null,"ended_at":null,"expires_at":null,"attempt":0,"attempts":[],"error":"","status":0,"position":null}`
	}
	s := newShelf(
		core.Job{ID: "wait", State: core.JobQueued},
		core.Job{ID: "run", State: core.JobWorking, Model: "tiny", Path: "/api/chat", Priority: core.PriorityLow, Caller: "bob",
			CreatedAt: morning, StartedAt: &morning, Attempt: 1},
		core.Job{ID: "done", State: core.JobDone}, core.Job{ID: "bad", State: core.JobFailed}, core.Job{ID: "off", State: core.JobCancelled},
		core.Job{ID: "lost", State: core.JobFailed, Error: "expired"},
	)
	s.results["done"] = core.JobResult{Status: 200, ContentType: "application/x-ndjson", Body: []byte("{}\n\x00\xff")}
	s.results["bad"] = core.JobResult{Status: 404, ContentType: "text/plain", Body: []byte("nope")}
	f := start(t, tiny(), nil, s.options)
	for _, tt := range []struct {
		request string
		status  int
		body    string
	}{
		{"GET /jobs/run", 200, running},
		{"GET /jobs/wait", 200, short("wait", "queued")},
		{"GET /jobs/nope", 404, noJob},
		{"GET /jobs/", 404, `{"error":"no route /jobs/: see foreman's README for what it serves"}`},
		{"GET /jobs/run/", 404, `{"error":"no route /jobs/run/: see foreman's README for what it serves"}`},
		{"GET /jobs/run/x", 404, `{"error":"no route /jobs/run/x: see foreman's README for what it serves"}`},
		{"GET /jobs/run/result/x", 404, `{"error":"no route /jobs/run/result/x: see foreman's README for what it serves"}`},
		{"PUT /jobs/run", 405, `{"error":"/jobs/run doesn't take PUT"}`},
		{"GET /jobs/run/retry", 405, `{"error":"/jobs/run/retry doesn't take GET"}`},
		{"DELETE /jobs", 405, `{"error":"/jobs doesn't take DELETE"}`},

		{"GET /jobs/nope/result", 404, noJob},
		{"GET /jobs/wait/result", 409, `{"error":"job wait is queued: it has no result yet"}`},
		{"GET /jobs/run/result", 409, `{"error":"job run is working: it has no result yet"}`},
		{"GET /jobs/off/result", 410, `{"error":"job off is cancelled and has no result"}`},
		{"GET /jobs/lost/result", 410, `{"error":"job lost is failed and has no result: expired"}`},

		{"DELETE /jobs/wait", 200, short("wait", "cancelled")},
		{"DELETE /jobs/run", 202, running},
		{"DELETE /jobs/done", 409, `{"error":"job done is done: only one that hasn't ended can be cancelled"}`},
		{"DELETE /jobs/nope", 404, noJob},

		{"POST /jobs/bad/retry", 202, short("bad", "queued")},
		{"POST /jobs/off/retry", 202, short("off", "queued")},
		{"POST /jobs/run/retry", 409, `{"error":"job run is working: only one that failed or was cancelled can be tried again"}`},
		{"POST /jobs/done/retry", 409, `{"error":"job done is done: only one that failed or was cancelled can be tried again"}`},
		{"POST /jobs/nope/retry", 404, noJob},
		{"GET /jobs/nope/events", 404, noJob},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		got := f.do(method, path, "")
		if got.status != tt.status || !sameJSON(t, got.body, tt.body) {
			t.Errorf("%s: %d %s\nwant %d %s", tt.request, got.status, got.body, tt.status, tt.body)
		}
		if got.header.Get("Foreman-Job-State") != "" {
			t.Errorf("%s seems to be a result", tt.request)
		}
	}
	for id, want := range map[string]answer{
		"done": {200, http.Header{"Foreman-Job-State": {"done"}, "Content-Type": {"application/x-ndjson"}}, "{}\n\x00\xff"},
		"bad":  {404, http.Header{"Foreman-Job-State": {"failed"}, "Content-Type": {"text/plain"}}, "nope"},
	} {
		got := f.get("/jobs/" + id + "/result")
		if got.status != want.status || got.body != want.body {
			t.Errorf("the result of %s: %d %q", id, got.status, got.body)
		}
		for name, values := range want.header {
			if diff := cmp.Diff(values, got.header[name]); diff != "" {
				t.Errorf("%s of %s: %s", name, id, diff)
			}
		}
		if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", id, got.header)
		}
	}
}

func TestJobsAreListed(t *testing.T) {
	s := newShelf()
	for i := range 60 {
		job := core.Job{ID: fmt.Sprintf("J%03d", i), State: core.JobQueued, Model: "tiny"}
		if i%2 == 0 {
			job.State = core.JobDone
		}
		if i%3 == 0 {
			job.Model = "big"
		}
		if i == 7 {
			job.Model = "My Alias"
		}
		s.jobs[job.ID] = job
	}
	f := start(t, tiny(), nil, s.options)
	client := asks(f, "")
	for query, want := range map[core.JobQuery]struct {
		count       int
		first, next string
	}{
		{}:                           {50, "J059", "J010"},
		{Cursor: "J010"}:             {10, "J009", ""},
		{State: core.JobDone}:        {30, "J058", ""},
		{Model: "big", Limit: 5}:     {5, "J057", "J045"},
		{State: core.JobFailed}:      {},
		{Limit: 500}:                 {60, "J059", ""},
		{Model: "nobody/knows:that"}: {},
		{Model: "My Alias"}:          {1, "J007", ""},
	} {
		page, err := client.Jobs(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		first := ""
		if len(page.Jobs) > 0 {
			first = page.Jobs[0].ID
		}
		if len(page.Jobs) != want.count || first != want.first || page.Next != want.next {
			t.Errorf("%+v: %d from %q, next %q", query, len(page.Jobs), first, page.Next)
		}
	}
	f.get("/jobs?state=failed").says(t, 200, `{"jobs":[],"next":""}`)
	for query, want := range map[string]string{
		"state=busy":                        `state "busy" is none of [queued loading working done failed cancelled]`,
		"limit=0":                           `limit is "0": want 1 to 500`,
		"limit=501":                         `limit is "501": want 1 to 500`,
		"limit=x":                           `limit is "x": want 1 to 500`,
		"model=" + strings.Repeat("x", 600): "the model's name is none: it is empty, or over 512 bytes",
	} {
		if got := f.get("/jobs?" + query); got.status != 400 || got.native(t) != want {
			t.Errorf("%s: %d %q", query, got.status, got.native(t))
		}
	}
	s.broken = errors.New("secret")
	for _, path := range []string{"/jobs", "/jobs/J001", "/jobs/J001/result", "/jobs/J001/events"} {
		f.get(path).says(t, 500, `{"error":"internal error; foreman's log says more"}`)
	}
}

func TestAForemanWithoutJobs(t *testing.T) {
	f := start(t, tiny(), nil)
	for _, request := range []string{
		"POST /jobs", "GET /jobs", "GET /jobs/x", "DELETE /jobs/x", "GET /jobs/x/result", "GET /jobs/x/events", "POST /jobs/x/retry",
	} {
		method, path, _ := strings.Cut(request, " ")
		f.do(method, path, asksTiny).says(t, 404, `{"error":"this foreman keeps no jobs"}`)
	}
	f.get("/queue").says(t, 404, `{"error":"nothing queues at this foreman"}`)
	f.get("/jobs/ui/").says(t, 404, `{"error":"this foreman has no pages about jobs"}`)
}
