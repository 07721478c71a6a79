package jobstest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

func testNotDue(t *testing.T, s *subject) {
	first, second := s.insert("tiny", core.PriorityNormal), s.insert("tiny", core.PriorityNormal)
	for _, id := range []string{first, second} {
		_, _, err := s.Claim(s.ctx, id, "n", noon)
		s.ok("Claim", err)
	}
	s.ok("PutBack", s.putBack(second, "n", tried(noon, false), noon.Add(time.Hour)))
	s.ok("PutBack", s.putBack(first, "n", tried(noon, false), noon.Add(2*time.Hour)))
	third := s.insert("tiny", core.PriorityNormal)
	for _, moment := range []struct {
		after time.Duration
		next  time.Duration // 0: no job will be due
		want  []string
	}{
		{0, time.Hour, []string{third}},
		{time.Hour - time.Millisecond, time.Hour, []string{third}},
		{time.Hour, 2 * time.Hour, []string{second, third}},
		{time.Hour, 2 * time.Hour, []string{second, third}},
		{3 * time.Hour, 0, []string{first, second, third}},
	} {
		heads, next, err := s.Heads(s.ctx, noon.Add(moment.after), 9)
		s.ok("Heads", err)
		s.same(fmt.Sprintf("heads after %s", moment.after), ids(heads), moment.want)
		if moment.next == 0 != next.IsZero() || moment.next != 0 && next.Sub(noon.Add(moment.next)).Abs() > time.Millisecond {
			t.Errorf("after %s the next will be due at %v, want after %s", moment.after, next, moment.next)
		}
	}
}

func testClaim(t *testing.T, s *subject) {
	id := s.insert("tiny", core.PriorityNormal)
	want := s.get(id)
	want.State, want.Attempt, want.StartedAt = core.JobLoading, 1, in(time.Minute)
	job, payload, err := s.Claim(s.ctx, id, "n", noon.Add(time.Minute))
	if err != nil || string(payload) != `{}` {
		t.Fatalf("Claim: payload %q, %v", payload, err)
	}
	s.same("what Claim returns", job, want)
	s.same("what Get returns", s.get(id), want)
	s.same("the heads", s.heads(noon, 9), []string{})
	for _, node := range []string{"n", "m"} {
		_, _, err := s.Claim(s.ctx, id, node, noon)
		s.is("a second claim", err, core.ErrJobConflict)
	}
	s.is("another's Working", s.Working(s.ctx, id, "m"), core.ErrJobConflict)
	s.same("after another's Working", s.get(id), want)
	s.ok("Working", s.Working(s.ctx, id, "n"))
	want.State = core.JobWorking
	s.same("after Working", s.get(id), want)

	s.ok("PutBack", s.putBack(id, "n", tried(noon, false), noon.Add(time.Hour)))
	_, _, err = s.Claim(s.ctx, id, "n", noon.Add(time.Hour-time.Millisecond))
	s.is("a claim too early", err, core.ErrJobConflict)
	_, _, err = s.Claim(s.ctx, id, "m", noon.Add(time.Hour))
	s.ok("a claim in time", err)
}

func testPutBack(t *testing.T, s *subject) {
	id := s.claimed("n")
	s.is("another's PutBack", s.putBack(id, "m", tried(noon, true), noon), core.ErrJobConflict)
	want := s.get(id)
	for i, counts := range []bool{true, false, true} {
		attempt := tried(noon.Add(time.Minute), counts)
		s.ok("PutBack", s.putBack(id, "n", attempt, noon.Add(time.Minute)))
		want.State, want.Error, want.Attempt = core.JobQueued, attempt.Error, []int{1, 1, 2}[i]
		want.Attempts = append(want.Attempts, attempt)
		s.same("what is due at once", s.heads(noon.Add(time.Minute), 1), []string{id})
		s.same("a job that was put back", s.get(id), want)
		_, _, err := s.Claim(s.ctx, id, "n", noon.Add(time.Minute))
		s.ok("Claim", err)
		want.StartedAt = in(time.Minute)
	}
	s.ok("PutBack", s.putBack(id, "n", tried(noon, false), noon.Add(time.Hour)))
	if at := s.get(id).NotBefore; at == nil || at.Sub(noon.Add(time.Hour)).Abs() > time.Millisecond {
		t.Errorf("it waits until %v", at)
	}
	s.heads(noon.Add(time.Hour), 1)
	if job := s.get(id); job.NotBefore != nil {
		t.Errorf("it is due and waits until %v", job.NotBefore)
	}
	s.is("PutBack of what waits", s.putBack(id, "n", tried(noon, false), noon), core.ErrJobConflict)
}

func testManyAttempts(t *testing.T, s *subject) {
	id := s.claimed("n")
	const all = jobs.MostAttempts + 3
	for i := range all {
		s.ok("PutBack", s.putBack(id, "n", tried(noon.Add(time.Duration(i)*time.Second), false), noon))
		_, _, err := s.Claim(s.ctx, id, "n", noon)
		s.ok("Claim", err)
	}
	kept := s.get(id).Attempts
	if len(kept) != jobs.MostAttempts || !kept[0].EndedAt.Equal(noon.Add((all-jobs.MostAttempts)*time.Second)) {
		t.Errorf("%d are kept, the first ended at %v", len(kept), kept[0].EndedAt)
	}
}

func testFinish(t *testing.T, s *subject) {
	id := s.claimed("n")
	s.ok("Working", s.Working(s.ctx, id, "n"))
	attempt := tried(noon.Add(time.Minute), true)
	result := core.JobResult{Status: 200, ContentType: "application/json", Body: []byte("first")}
	second := core.JobResult{Status: 201, Body: []byte("second")}
	s.is("another's Finish", s.Finish(s.ctx, id, "m", core.JobDone, "", &attempt, &second), core.ErrJobConflict)
	_, err := s.Result(s.ctx, id)
	s.is("the result of one that works", err, core.ErrJobConflict)
	if err := s.Finish(s.ctx, id, "n", core.JobWorking, "", &attempt, &second); err == nil {
		t.Error("it ends working")
	}
	want := s.get(id)
	s.ok("Finish", s.Finish(s.ctx, id, "n", core.JobDone, "", &attempt, &result))
	want.State, want.EndedAt, want.Status, want.Attempts = core.JobDone, in(time.Minute), 200, []core.Attempt{attempt}
	for _, node := range []string{"n", "m"} {
		s.is("a second Finish", s.Finish(s.ctx, id, node, core.JobFailed, "late", &attempt, &second), core.ErrJobConflict)
	}
	s.same("a job that is done", s.get(id), want)
	got, err := s.Result(s.ctx, id)
	s.ok("Result", err)
	s.same("the result", got, result)
}

func testFinishWithout(t *testing.T, s *subject) {
	failed := s.claimed("n")
	attempt := tried(noon.Add(time.Minute), true)
	s.ok("Finish", s.Finish(s.ctx, failed, "n", core.JobFailed, "too often", &attempt, nil))
	job := s.get(failed)
	if job.State != core.JobFailed || job.Error != "too often" || job.Status != 0 || job.Attempt != 1 {
		t.Errorf("it is %+v", job)
	}
	_, err := s.Result(s.ctx, failed)
	s.is("its result", err, core.ErrJobConflict)

	never := s.claimed("n")
	s.ok("Finish", s.Finish(s.ctx, never, "n", core.JobFailed, "the model is gone", nil, nil))
	job = s.get(never)
	if job.Attempt != 0 || len(job.Attempts) != 0 || job.EndedAt == nil {
		t.Errorf("a job that the target never had is %+v", job)
	}
}

func testCancel(t *testing.T, s *subject) {
	waits := s.insert("tiny", core.PriorityNormal)
	want := s.get(waits)
	want.State, want.EndedAt = core.JobCancelled, in(time.Hour)
	job, err := s.Cancel(s.ctx, waits, noon.Add(time.Hour))
	s.ok("Cancel", err)
	s.same("what Cancel returns", job, want)
	s.same("what waited", s.get(waits), want)
	_, err = s.Cancel(s.ctx, waits, noon)
	s.is("a second Cancel", err, core.ErrJobConflict)
	s.same("the heads", s.heads(noon, 9), []string{})

	mine, others := s.claimed("n"), s.claimed("m")
	s.claimed("n")
	for _, id := range []string{mine, others} {
		job, err := s.Cancel(s.ctx, id, noon)
		s.ok("Cancel", err)
		s.same("one that is claimed", job, s.get(id))
		if job.State != core.JobLoading {
			t.Errorf("it is %s before its node cancelled it", job.State)
		}
	}
	for node, want := range map[string][]string{"n": {mine}, "m": {others}, "o": nil} {
		got, err := s.Cancelled(s.ctx, node)
		s.ok("Cancelled", err)
		if !slices.Equal(got, want) {
			t.Errorf("%s shall cancel %v, want %v", node, got, want)
		}
	}
	attempt := tried(noon.Add(time.Minute), false)
	s.ok("Finish", s.Finish(s.ctx, mine, "n", core.JobCancelled, "", &attempt, nil))
	_, err = s.Retry(s.ctx, mine, noon)
	s.ok("Retry", err)
	_, _, err = s.Claim(s.ctx, mine, "n", noon)
	s.ok("Claim", err)
	if got, err := s.Cancelled(s.ctx, "n"); len(got) > 0 || err != nil {
		t.Errorf("n still shall cancel %v, %v", got, err)
	}
}

func testCancelThenBack(t *testing.T, s *subject) {
	put, recovered := s.claimed("n"), s.claimed("n")
	for _, id := range []string{put, recovered} {
		_, err := s.Cancel(s.ctx, id, noon)
		s.ok("Cancel", err)
	}
	s.ok("PutBack", s.putBack(put, "n", tried(noon.Add(time.Minute), false), noon.Add(time.Hour)))
	_, err := s.Recover(s.ctx, "n", noon.Add(time.Minute))
	s.ok("Recover", err)
	for _, id := range []string{put, recovered} {
		job := s.get(id)
		if job.State != core.JobCancelled || job.EndedAt == nil || !job.EndedAt.Equal(noon.Add(time.Minute)) || job.NotBefore != nil {
			t.Errorf("it is %+v", job)
		}
	}
	s.same("the heads", s.heads(noon.Add(time.Hour), 9), []string{})
}

func testFail(t *testing.T, s *subject) {
	id := s.insert("tiny", core.PriorityNormal)
	want := s.get(id)
	want.State, want.Error, want.EndedAt = core.JobFailed, "the model is gone", in(time.Minute)
	s.ok("Fail", s.Fail(s.ctx, id, "the model is gone", noon.Add(time.Minute)))
	s.same("a job that failed", s.get(id), want)

	later := s.claimed("n")
	s.is("Fail of what is claimed", s.Fail(s.ctx, later, "no", noon), core.ErrJobConflict)
	s.ok("PutBack", s.putBack(later, "n", tried(noon, true), noon.Add(time.Hour)))
	s.ok("Fail of what isn't due", s.Fail(s.ctx, later, "no", noon.Add(time.Minute)))
	if heads, next, err := s.Heads(s.ctx, noon.Add(2*time.Hour), 9); len(heads) > 0 || !next.IsZero() || err != nil {
		t.Errorf("there still are %v, the next at %v, %v", ids(heads), next, err)
	}
}

func testUntold(t *testing.T, s *subject) {
	untold := func(what string, limit int, want ...string) {
		t.Helper()
		list, err := s.Untold(s.ctx, limit)
		s.ok("Untold", err)
		s.same(what, ids(list), append([]string{}, want...))
	}
	hooked := func() string {
		job := s.job("tiny", core.PriorityNormal)
		job.Webhook = "https://example.com"
		_, _, err := s.Insert(s.ctx, job, nil)
		s.ok("Insert", err)
		return job.ID
	}
	finished, failed, cancelled, without := hooked(), hooked(), hooked(), s.insert("tiny", core.PriorityNormal)
	untold("what waits", 9)
	_, _, err := s.Claim(s.ctx, finished, "n", noon)
	s.ok("Claim", err)
	untold("what is claimed", 9)
	attempt := tried(noon.Add(3*time.Minute), true)
	s.ok("Finish", s.Finish(s.ctx, finished, "n", core.JobDone, "", &attempt, nil))
	s.ok("Fail", s.Fail(s.ctx, failed, "no", noon.Add(time.Minute)))
	s.ok("Fail", s.Fail(s.ctx, without, "no", noon))
	_, err = s.Cancel(s.ctx, cancelled, noon.Add(2*time.Minute))
	s.ok("Cancel", err)
	untold("what has ended", 9, failed, cancelled, finished)
	untold("the first", 2, failed, cancelled)
	before := s.get(cancelled)
	s.ok("Told", s.Told(s.ctx, cancelled))
	s.ok("Told again", s.Told(s.ctx, cancelled))
	s.same("a job after Told", s.get(cancelled), before)
	_, err = s.Retry(s.ctx, failed, noon)
	s.ok("Retry", err)
	untold("what still is", 9, finished)
	s.ok("Told of what waits", s.Told(s.ctx, failed))
	s.ok("Fail", s.Fail(s.ctx, failed, "again", noon.Add(time.Hour)))
	untold("what has ended again", 9, finished, failed)
	s.is("Told of none", s.Told(s.ctx, "none"), core.ErrNoJob)
}

func testRetry(t *testing.T, s *subject) {
	job := s.job("tiny", core.PriorityNormal)
	job.ExpiresAt = in(time.Hour)
	_, _, err := s.Insert(s.ctx, job, []byte("payload"))
	s.ok("Insert", err)
	want := s.get(job.ID)
	_, _, err = s.Claim(s.ctx, job.ID, "n", noon)
	s.ok("Claim", err)
	attempt := tried(noon, true)
	s.ok("Finish", s.Finish(s.ctx, job.ID, "n", core.JobFailed, "no", &attempt, &core.JobResult{Status: 400, Body: []byte("bad")}))
	got, err := s.Retry(s.ctx, job.ID, noon)
	s.ok("Retry", err)
	want.Attempts = []core.Attempt{attempt}
	s.same("what Retry returns", got, want)
	s.same("what Get returns", s.get(job.ID), want)
	_, err = s.Result(s.ctx, job.ID)
	s.is("its result", err, core.ErrJobConflict)
	_, payload, err := s.Claim(s.ctx, job.ID, "n", noon)
	if err != nil || string(payload) != "payload" {
		t.Errorf("Claim: %q, %v", payload, err)
	}
	s.ok("Finish", s.Finish(s.ctx, job.ID, "n", core.JobFailed, "no", &attempt, &core.JobResult{Status: 401}))
	got, err = s.Retry(s.ctx, job.ID, noon.Add(time.Hour))
	if err != nil || got.ExpiresAt != nil {
		t.Errorf("after it had expired: %+v, %v", got, err)
	}
	_, err = s.Cancel(s.ctx, job.ID, noon)
	s.ok("Cancel", err)
	_, err = s.Retry(s.ctx, job.ID, noon)
	s.ok("Retry of what was cancelled", err)
	s.same("the heads", s.heads(noon, 9), []string{job.ID})
}

func testRecover(t *testing.T, s *subject) {
	mine, others, waits := s.claimed("n"), s.claimed("m"), s.insert("tiny", core.PriorityNormal)
	working := s.claimed("n")
	s.ok("Working", s.Working(s.ctx, working, "n"))
	untouched := []core.Job{s.get(others), s.get(waits)}
	n, err := s.Recover(s.ctx, "n", noon.Add(time.Minute))
	if err != nil || n != 2 {
		t.Errorf("%d were recovered, %v", n, err)
	}
	for _, id := range []string{mine, working} {
		job := s.get(id)
		if job.State != core.JobQueued || job.Attempt != 0 || len(job.Attempts) != 1 || job.Attempts[0].Counts || job.NotBefore != nil {
			t.Errorf("it is %+v", job)
		}
		s.is("Finish of what was recovered", s.Finish(s.ctx, id, "n", core.JobDone, "", nil, nil), core.ErrJobConflict)
	}
	s.same("others", []core.Job{s.get(others), s.get(waits)}, untouched)
	s.same("the heads", s.heads(noon.Add(time.Minute), 9), []string{mine, waits, working})
	if n, err := s.Recover(s.ctx, "n", noon); n != 0 || err != nil {
		t.Errorf("%d were recovered twice, %v", n, err)
	}
}

func testRace(t *testing.T, s *subject) { race(t, s, s.Store, s.Store) }

// race has many claim the same jobs through either store, and finish them.
func race(t *testing.T, s *subject, stores ...jobs.Store) {
	var made []string
	for range 8 {
		made = append(made, s.insert("tiny", core.PriorityNormal))
	}
	var mu sync.Mutex
	winners := map[string][]string{}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			store, node := stores[i%len(stores)], fmt.Sprint("node", i)
			for _, id := range made {
				_, _, err := store.Claim(s.ctx, id, node, noon)
				if err == nil {
					mu.Lock()
					winners[id] = append(winners[id], node)
					mu.Unlock()
				} else if !errors.Is(err, core.ErrJobConflict) {
					t.Errorf("Claim: %v", err)
				}
				err = store.Finish(s.ctx, id, node, core.JobDone, "", nil, &core.JobResult{Status: 200, Body: []byte(node)})
				if err != nil && !errors.Is(err, core.ErrJobConflict) {
					t.Errorf("Finish: %v", err)
				}
			}
		})
	}
	all.Wait()
	for _, id := range made {
		result, err := s.Result(s.ctx, id)
		if len(winners[id]) != 1 || err != nil || string(result.Body) != winners[id][0] {
			t.Errorf("%v have claimed %s, the result is %s's, %v", winners[id], id, result.Body, err)
		}
	}
}
