package jobstest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/jobs"
)

// eachState makes a job of every state, and returns their IDs.
func eachState(s *subject) map[core.JobState]string {
	s.t.Helper()
	made := map[core.JobState]string{
		core.JobQueued: s.insert("tiny", core.PriorityNormal), core.JobLoading: s.claimed("n"), core.JobWorking: s.claimed("n"),
		core.JobDone: s.claimed("n"), core.JobFailed: s.insert("tiny", core.PriorityNormal), core.JobCancelled: s.insert("tiny", core.PriorityNormal),
	}
	attempt := tried(noon.Add(time.Minute), true)
	s.ok("Working", s.Working(s.ctx, made[core.JobWorking], "n"))
	s.ok("Finish", s.Finish(s.ctx, made[core.JobDone], "n", core.JobDone, "", &attempt, &core.JobResult{Status: 200}))
	s.ok("Fail", s.Fail(s.ctx, made[core.JobFailed], "gone", noon))
	_, err := s.Cancel(s.ctx, made[core.JobCancelled], noon)
	s.ok("Cancel", err)
	return made
}

func testConflicts(t *testing.T, s *subject) {
	const queued, loading, working = core.JobQueued, core.JobLoading, core.JobWorking
	const done, failed, cancelled = core.JobDone, core.JobFailed, core.JobCancelled
	for name, c := range map[string]struct {
		do   func(id string) error
		from []core.JobState // where it isn't refused, and so not tried
	}{
		"Claim":   {func(id string) error { _, _, err := s.Claim(s.ctx, id, "n", noon); return err }, []core.JobState{queued}},
		"Working": {func(id string) error { return s.Working(s.ctx, id, "n") }, []core.JobState{loading, working}},
		"PutBack": {func(id string) error { return s.putBack(id, "n", tried(noon, true), noon) }, []core.JobState{loading, working}},
		"Finish":  {func(id string) error { return s.Finish(s.ctx, id, "n", done, "", nil, nil) }, []core.JobState{loading, working}},
		"Cancel":  {func(id string) error { _, err := s.Cancel(s.ctx, id, noon); return err }, []core.JobState{queued, loading, working}},
		"Fail":    {func(id string) error { return s.Fail(s.ctx, id, "no", noon) }, []core.JobState{queued}},
		"Retry":   {func(id string) error { _, err := s.Retry(s.ctx, id, noon); return err }, []core.JobState{failed, cancelled}},
	} {
		made := eachState(s)
		for _, state := range core.JobStates() {
			if slices.Contains(c.from, state) {
				continue
			}
			before := s.get(made[state])
			s.is(fmt.Sprintf("%s of a %s job", name, state), c.do(made[state]), core.ErrJobConflict)
			s.same(fmt.Sprintf("a %s job after %s", state, name), s.get(made[state]), before)
		}
	}
}

func testNoJob(t *testing.T, s *subject) {
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for name, do := range map[string]func() error{
		"Get":     func() error { _, err := s.Get(s.ctx, id); return err },
		"Result":  func() error { _, err := s.Result(s.ctx, id); return err },
		"Claim":   func() error { _, _, err := s.Claim(s.ctx, id, "n", noon); return err },
		"Working": func() error { return s.Working(s.ctx, id, "n") },
		"PutBack": func() error { return s.putBack(id, "n", tried(noon, true), noon) },
		"Finish":  func() error { return s.Finish(s.ctx, id, "n", core.JobDone, "", nil, nil) },
		"Cancel":  func() error { _, err := s.Cancel(s.ctx, id, noon); return err },
		"Fail":    func() error { return s.Fail(s.ctx, id, "no", noon) },
		"Retry":   func() error { _, err := s.Retry(s.ctx, id, noon); return err },
	} {
		s.is(name, do(), core.ErrNoJob)
	}
}

func testCounts(t *testing.T, s *subject) {
	counts := func(what string, want map[core.JobState]int) {
		t.Helper()
		got, err := s.Counts(s.ctx)
		s.ok("Counts", err)
		s.same(what, got, want)
	}
	want := map[core.JobState]int{}
	for _, state := range core.JobStates() {
		want[state] = 0
	}
	counts("of nothing", want)
	made := eachState(s)
	for _, state := range core.JobStates() {
		want[state] = 1
	}
	counts("one of each", want)
	_, err := s.Retry(s.ctx, made[core.JobFailed], noon)
	s.ok("Retry", err)
	_, err = s.Forget(s.ctx, noon.Add(time.Hour))
	s.ok("Forget", err)
	want[core.JobQueued], want[core.JobFailed], want[core.JobDone], want[core.JobCancelled] = 2, 0, 0, 0
	counts("at the end", want)

	const low, normal, high = core.PriorityLow, core.PriorityNormal, core.PriorityHigh
	var line []string
	for _, p := range []core.Priority{low, normal, high, high, normal, low} {
		line = append(line, s.insert("other", p))
	}
	s.insert("other:7b", high)
	for i, want := range []int{4, 2, 0, 1, 3, 5} {
		got, err := s.Ahead(s.ctx, s.get(line[i]))
		if err != nil || got != want {
			t.Errorf("%d are ahead of job %d, want %d, %v", got, i, want, err)
		}
	}
	_, _, err = s.Claim(s.ctx, line[2], "n", noon)
	s.ok("Claim", err)
	if got, err := s.Ahead(s.ctx, s.get(line[3])); got != 0 || err != nil {
		t.Errorf("%d are ahead of the next, %v", got, err)
	}
}

func testList(t *testing.T, s *subject) {
	if page, next, err := s.List(s.ctx, core.JobQuery{Limit: 5}); len(page) != 0 || next != "" || err != nil {
		t.Errorf("a page of nothing is %v, next %q, %v", page, next, err)
	}
	var alpha, all []string
	for i := range 7 {
		model := "Alpha"
		if i%2 == 1 {
			model = "beta:7b"
		}
		id := s.insert(model, core.Priority(i%3-1))
		all = append([]string{id}, all...)
		if i%2 == 0 {
			alpha = append([]string{id}, alpha...)
		}
	}
	for _, id := range []string{alpha[1], all[1]} { // one of either model
		_, err := s.Cancel(s.ctx, id, noon)
		s.ok("Cancel", err)
	}
	for _, c := range []struct {
		query core.JobQuery
		want  []string
	}{
		{core.JobQuery{}, all},
		{core.JobQuery{Model: "library/alpha:latest"}, alpha},
		{core.JobQuery{Model: "alpha:7b"}, []string{}},
		{core.JobQuery{State: core.JobCancelled}, []string{all[1], alpha[1]}},
		{core.JobQuery{State: core.JobCancelled, Model: "alpha"}, alpha[1:2]},
		{core.JobQuery{State: core.JobDone}, []string{}},
	} {
		for limit := 1; limit <= len(all)+1; limit += 2 {
			c.query.Limit, c.query.Cursor = limit, ""
			got := []string{}
			for {
				page, next, err := s.List(s.ctx, c.query)
				s.ok("List", err)
				if len(page) > limit || next != "" && len(page) < limit {
					t.Errorf("%+v: a page of %d, next %q", c.query, len(page), next)
				}
				got = append(got, ids(page)...)
				if next == "" {
					break
				}
				c.query.Cursor = next
			}
			s.same(fmt.Sprintf("%+v", c.query), got, c.want)
		}
	}
	page, _, err := s.List(s.ctx, core.JobQuery{Limit: 1})
	s.ok("List", err)
	s.same("what is listed", page[0], s.get(all[0]))
	page, _, err = s.List(s.ctx, core.JobQuery{Model: "not@name", Limit: 1})
	s.ok("List", err)
	s.same("jobs for a model that nobody asked for", len(page), 0)
}

func testForget(t *testing.T, s *subject) {
	old, kept, waits := s.claimed("n"), s.claimed("n"), s.insert("tiny", core.PriorityNormal)
	for id, end := range map[string]time.Time{old: noon.Add(time.Minute), kept: noon.Add(time.Hour)} {
		attempt := tried(end, true)
		s.ok("Finish", s.Finish(s.ctx, id, "n", core.JobDone, "", &attempt, &core.JobResult{Status: 200, Body: []byte(id)}))
	}
	n, err := s.Forget(s.ctx, noon.Add(time.Hour))
	if n != 1 || err != nil {
		t.Errorf("%d are forgotten, %v", n, err)
	}
	_, err = s.Get(s.ctx, old)
	s.is("the old one", err, core.ErrNoJob)
	_, err = s.Result(s.ctx, old)
	s.is("its result", err, core.ErrNoJob)
	if result, err := s.Result(s.ctx, kept); err != nil || string(result.Body) != kept {
		t.Errorf("the one that is kept has the result %q, %v", result.Body, err)
	}
	s.get(waits)
	for range 101 { // more than a store may like to remove at a time
		_, err := s.Cancel(s.ctx, s.insert("tiny", core.PriorityNormal), noon)
		s.ok("Cancel", err)
	}
	if n, err := s.Forget(s.ctx, noon.Add(24*time.Hour)); n != 102 || err != nil {
		t.Errorf("%d are forgotten, %v", n, err)
	}
	counts, err := s.Counts(s.ctx)
	s.ok("Counts", err)
	s.same("what is left", counts, map[core.JobState]int{
		core.JobQueued: 1, core.JobLoading: 0, core.JobWorking: 0, core.JobDone: 0, core.JobFailed: 0, core.JobCancelled: 0,
	})
}

// Shared checks a store that several foremen use at a time. open returns two
// of one empty database, and has the test close them.
func Shared(t *testing.T, open func(t *testing.T) (jobs.Store, jobs.Store)) {
	t.Run("one winner of many", func(t *testing.T) {
		one, other := open(t)
		race(t, newSubject(t, one), one, other)
	})
	t.Run("one job of a key", func(t *testing.T) {
		one, other := open(t)
		a, b := newSubject(t, one), newSubject(t, other)
		job := a.job("tiny", core.PriorityNormal)
		job.IdempotencyKey = "key"
		first, _, err := a.Insert(a.ctx, job, []byte(`{}`))
		a.ok("Insert", err)
		job.ID = b.job("tiny", core.PriorityNormal).ID
		second, known, err := b.Insert(b.ctx, job, []byte(`{}`))
		if err != nil || !known || second.ID != first.ID {
			t.Errorf("the second is %s, known %t, %v", second.ID, known, err)
		}
	})
	t.Run("tells the other", func(t *testing.T) {
		one, other := open(t)
		newSubject(t, one).insert("tiny", core.PriorityNormal)
		select {
		case <-other.Changed():
		case <-time.After(10 * time.Second):
			t.Error("the other never heard of it")
		}
	})
}
