// Package jobstest is the conformance suite of [jobs.Store]: [Store] checks
// any implementation, [Shared] one that several foremen may use at a time.
// What it demands is in the interface's comments. Only test files import it.
package jobstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

// Store checks that a store keeps the contract. open returns an empty one, and
// has the test close it; each test opens its own, several at a time.
func Store(t *testing.T, open func(t *testing.T) jobs.Store) {
	for name, test := range map[string]func(*testing.T, *subject){
		"keeps a job":                           testInsert,
		"keeps bytes":                           testBytes,
		"knows an idempotency key":              testIdempotency,
		"says who is next":                      testHeads,
		"lets a job that isn't due wait":        testNotDue,
		"gives a job to one node":               testClaim,
		"puts a job back":                       testPutBack,
		"remembers the last attempts":           testManyAttempts,
		"stores a result once":                  testFinish,
		"takes an end without a result":         testFinishWithout,
		"cancels":                               testCancel,
		"cancels what comes back":               testCancelThenBack,
		"fails what waits":                      testFail,
		"knows what has expired":                testExpired,
		"gives no job that has expired":         testExpiredClaim,
		"knows whose end is untold":             testUntold,
		"retries":                               testRetry,
		"recovers":                              testRecover,
		"counts":                                testCounts,
		"lists":                                 testList,
		"forgets":                               testForget,
		"knows no job":                          testNoJob,
		"leaves a job that is in another state": testConflicts,
		"has one winner of many":                testRace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newSubject(t, open(t)))
		})
	}
}

// noon is when the jobs of the suite are made, to the nanosecond.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// A subject is a store under test.
type subject struct {
	jobs.Store
	t    *testing.T
	ctx  context.Context
	made int
}

func newSubject(t *testing.T, store jobs.Store) *subject {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return &subject{Store: store, t: t, ctx: ctx}
}

// job is a new one, a second younger than the one before.
func (s *subject) job(model string, p core.Priority) core.Job {
	at := noon.Add(time.Duration(s.made) * time.Second)
	s.made++
	id := ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy())
	return core.Job{ID: id.String(), State: core.JobQueued, Model: model, Path: "/api/chat", Priority: p, CreatedAt: at, Attempts: []core.Attempt{}}
}

// insert keeps a job of that model, and returns its ID.
func (s *subject) insert(model string, p core.Priority) string {
	s.t.Helper()
	job := s.job(model, p)
	if _, _, err := s.Insert(s.ctx, job, []byte(`{}`)); err != nil {
		s.t.Fatalf("Insert: %v", err)
	}
	return job.ID
}

// claimed is the ID of a job that node has claimed.
func (s *subject) claimed(node string) string {
	s.t.Helper()
	id := s.insert("tiny", core.PriorityNormal)
	if _, _, err := s.Claim(s.ctx, id, node, noon); err != nil {
		s.t.Fatalf("Claim: %v", err)
	}
	return id
}

func (s *subject) get(id string) core.Job {
	s.t.Helper()
	job, err := s.Get(s.ctx, id)
	if err != nil {
		s.t.Fatalf("Get: %v", err)
	}
	return job
}

// putBack is PutBack, which returns what Get does.
func (s *subject) putBack(id, node string, attempt core.Attempt, notBefore time.Time) error {
	s.t.Helper()
	job, err := s.PutBack(s.ctx, id, node, attempt, notBefore)
	if err == nil {
		s.same("what PutBack returns", job, s.get(id))
	}
	return err
}

func (s *subject) ok(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

func (s *subject) is(what string, err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: the error is %v, want %v", what, err, want)
	}
}

func (s *subject) same(what string, got, want any) {
	s.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// heads are the IDs that Heads returns.
func (s *subject) heads(now time.Time, limit int) []string {
	s.t.Helper()
	heads, _, err := s.Heads(s.ctx, now, limit)
	s.ok("Heads", err)
	return ids(heads)
}

func ids(list []core.Job) []string {
	found := []string{}
	for _, job := range list {
		found = append(found, job.ID)
	}
	return found
}

// tried is an attempt that ended then.
func tried(end time.Time, counts bool) core.Attempt {
	a := core.Attempt{At: noon, EndedAt: end, Counts: counts, Reason: core.ReasonRefused, Error: "nothing listens"}
	if counts {
		a.Reason, a.Error = core.StatusReason(500), "500 for /api/chat"
	}
	return a
}

func in(d time.Duration) *time.Time {
	at := noon.Add(d)
	return &at
}

func testInsert(t *testing.T, s *subject) {
	for name, change := range map[string]func(*core.Job){
		"with the least": func(*core.Job) {},
		"with all": func(j *core.Job) {
			j.Model, j.Priority, j.Caller, j.ExpiresAt = "Library/TINY", core.PriorityHigh, "o'brien", in(time.Hour)
			j.Webhook, j.IdempotencyKey, j.Path = "https://example.com/?a=1", "k \"1\"", "/v1/chat/completions"
		},
		"in another zone": func(j *core.Job) { j.CreatedAt = j.CreatedAt.In(time.FixedZone("", 3600)) },
	} {
		job := s.job("tiny", core.PriorityNormal)
		change(&job)
		kept, known, err := s.Insert(s.ctx, job, []byte(`{}`))
		if err != nil || known {
			t.Fatalf("%s: known %t, %v", name, known, err)
		}
		s.same(name+": what Insert returns", kept, job)
		s.same(name+": what Get returns", s.get(job.ID), job)
		if zone := s.get(job.ID).CreatedAt.Location(); zone != time.UTC {
			t.Errorf("%s: the time is in %s", name, zone)
		}
	}
	before, err := s.Counts(s.ctx)
	s.ok("Counts", err)
	twice := s.job("tiny", core.PriorityNormal)
	twice.ID = s.insert("tiny", core.PriorityNormal)
	if _, _, err := s.Insert(s.ctx, twice, nil); err == nil {
		t.Error("two jobs have one ID")
	}
	after, err := s.Counts(s.ctx)
	s.ok("Counts", err)
	before[core.JobQueued]++
	s.same("the counts", after, before)
	_, _, err = s.Insert(s.ctx, s.job("", core.PriorityNormal), nil)
	s.is("no model", err, core.ErrInvalidName)
	s.insert("/models/not a name@of.gguf", core.PriorityNormal) // as servers other than Ollama call theirs
}

// awkward are bytes that a text or JSON column wouldn't keep.
func awkward() map[string][]byte {
	all := make([]byte, 0, 1<<20)
	for len(all) < cap(all) {
		all = append(all, byte(len(all)*7>>3))
	}
	return map[string][]byte{
		"none": {}, "zero": {0}, "a JSON null": []byte(`{"a":null,"b":"\u0000"}`), "spaces": []byte(" {\"a\" : 1.0 }\n"),
		"no UTF-8": {0xff, 0xfe, 'a', 0x80}, "quotes": []byte(`'"\`), "a million": all,
	}
}

func testBytes(t *testing.T, s *subject) {
	for name, body := range awkward() {
		job := s.job("tiny", core.PriorityNormal)
		_, _, err := s.Insert(s.ctx, job, body)
		s.ok("Insert", err)
		_, claimed, err := s.Claim(s.ctx, job.ID, "n", noon)
		if err != nil || !bytes.Equal(claimed, body) {
			t.Errorf("%s: Claim returns %d bytes for %d, %v", name, len(claimed), len(body), err)
		}
		attempt := tried(noon, true)
		want := core.JobResult{Status: 200, ContentType: "application/x-ndjson; a=\"b\"", Body: body}
		s.ok("Finish", s.Finish(s.ctx, job.ID, "n", core.JobDone, "", &attempt, &want))
		got, err := s.Result(s.ctx, job.ID)
		if err != nil || got.Status != want.Status || got.ContentType != want.ContentType || !bytes.Equal(got.Body, body) {
			t.Errorf("%s: Result returns %d, %s, %d bytes for %d, %v", name, got.Status, got.ContentType, len(got.Body), len(body), err)
		}
	}
}

func testIdempotency(t *testing.T, s *subject) {
	keyed := func(caller, path string) core.Job {
		job := s.job("tiny", core.PriorityNormal)
		job.IdempotencyKey, job.Caller, job.Path = "key", caller, path
		return job
	}
	first, _, err := s.Insert(s.ctx, keyed("anna", "/api/chat"), []byte(`{"a":1}`))
	s.ok("Insert", err)
	again, known, err := s.Insert(s.ctx, keyed("anna", "/api/chat"), []byte(`{"a":1}`))
	s.ok("Insert again", err)
	if !known {
		t.Error("the second isn't known")
	}
	s.same("the second", again, first)
	_, _, err = s.Insert(s.ctx, keyed("anna", "/api/chat"), []byte(`{"a":2}`))
	s.is("another payload", err, core.ErrJobConflict)
	_, _, err = s.Insert(s.ctx, keyed("anna", "/api/embed"), []byte(`{"a":1}`))
	s.is("another path", err, core.ErrJobConflict)
	_, known, err = s.Insert(s.ctx, keyed("bert", "/api/chat"), []byte(`{"a":2}`))
	if err != nil || known {
		t.Errorf("another caller's key: known %t, %v", known, err)
	}
	kept, known, err := s.Known(s.ctx, keyed("anna", "/api/chat"), []byte(`{"a":1}`))
	if err != nil || !known {
		t.Errorf("Known: %t, %v", known, err)
	}
	s.same("what is known", kept, first)
	_, known, err = s.Known(s.ctx, keyed("anna", "/api/chat"), []byte(`{"a":2}`))
	s.is("Known of another payload", err, core.ErrJobConflict)
	if known {
		t.Error("another payload is known")
	}
	_, _, err = s.Known(s.ctx, keyed("anna", "/api/embed"), []byte(`{"a":1}`))
	s.is("Known of another path", err, core.ErrJobConflict)
	for _, other := range []core.Job{keyed("carl", "/api/chat"), s.job("tiny", core.PriorityNormal)} {
		if _, known, err := s.Known(s.ctx, other, []byte(`{"a":1}`)); known || err != nil {
			t.Errorf("Known of %q's %q: %t, %v", other.Caller, other.IdempotencyKey, known, err)
		}
	}
	page, _, err := s.List(s.ctx, core.JobQuery{Limit: 10})
	if err != nil || len(page) != 2 {
		t.Errorf("%d jobs are kept of 2, %v", len(page), err)
	}
	_, err = s.Cancel(s.ctx, first.ID, noon)
	s.ok("Cancel", err)
	_, err = s.Forget(s.ctx, noon.Add(time.Hour))
	s.ok("Forget", err)
	_, known, err = s.Insert(s.ctx, keyed("anna", "/api/chat"), []byte(`{"a":2}`))
	if err != nil || known {
		t.Errorf("the key of a forgotten job: known %t, %v", known, err)
	}
}

func testHeads(t *testing.T, s *subject) {
	const low, normal, high = core.PriorityLow, core.PriorityNormal, core.PriorityHigh
	if heads, next, err := s.Heads(s.ctx, noon, 1); len(heads) != 0 || !next.IsZero() || err != nil {
		t.Errorf("heads of nothing are %v, the next at %v, %v", heads, next, err)
	}
	b1 := s.insert("beta", low)
	a1 := s.insert("alpha", normal)
	a2 := s.insert("Alpha:LATEST", normal)
	b2 := s.insert("library/beta", high)
	a3 := s.insert("alpha", normal)
	other := s.insert("alpha:7b", low)
	for limit, want := range map[int]map[string][]string{
		1: {"alpha:latest": {a1}, "beta:latest": {b2, b1}, "alpha:7b": {other}},
		2: {"alpha:latest": {a1, a2}, "beta:latest": {b2, b1}, "alpha:7b": {other}},
		9: {"alpha:latest": {a1, a2, a3}, "beta:latest": {b2, b1}, "alpha:7b": {other}},
	} {
		heads, _, err := s.Heads(s.ctx, noon, limit)
		s.ok("Heads", err)
		got := map[string][]string{}
		for _, head := range heads {
			s.same("a head", head, s.get(head.ID))
			name, err := core.ParseModelName(head.Model)
			s.ok("ParseModelName", err)
			got[name.String()] = append(got[name.String()], head.ID)
		}
		s.same(fmt.Sprintf("%d of each", limit), got, want)
	}
}
