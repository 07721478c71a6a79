package jobstest

import (
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

func testExpired(t *testing.T, s *subject) {
	var made []string
	for _, after := range []time.Duration{3, 1, 2, 0} {
		job := s.job("tiny", core.PriorityNormal)
		if after > 0 {
			job.ExpiresAt = in(after * time.Hour)
		}
		_, _, err := s.Insert(s.ctx, job, nil)
		s.ok("Insert", err)
		made = append(made, job.ID)
	}
	expired := func(after time.Duration, limit int) []string {
		list, err := s.Expired(s.ctx, noon.Add(after), limit)
		s.ok("Expired", err)
		return ids(list)
	}
	s.same("before", expired(59*time.Minute, 9), []string{})
	s.same("one", expired(time.Hour, 9), []string{made[1]})
	s.same("all but one that can't", expired(9*time.Hour, 9), []string{made[1], made[2], made[0]})
	s.same("the first", expired(9*time.Hour, 1), []string{made[1]})
	_, _, err := s.Claim(s.ctx, made[1], "n", noon)
	s.ok("Claim", err)
	s.ok("Fail", s.Fail(s.ctx, made[2], "expired", noon))
	s.same("what doesn't wait", expired(9*time.Hour, 9), []string{made[0]})
	s.ok("PutBack", s.putBack(made[1], "n", tried(noon, false), noon.Add(8*time.Hour)))
	s.same("what was put back", expired(2*time.Hour, 9), []string{made[1]})
}

func testExpiredClaim(t *testing.T, s *subject) {
	job := s.job("tiny", core.PriorityNormal)
	job.ExpiresAt = in(time.Hour)
	_, _, err := s.Insert(s.ctx, job, nil)
	s.ok("Insert", err)
	want := s.get(job.ID)
	for _, at := range []time.Duration{time.Hour, 2 * time.Hour} {
		_, _, err = s.Claim(s.ctx, job.ID, "n", noon.Add(at))
		s.is("a claim too late", err, core.ErrJobConflict)
	}
	s.same("what expired", s.get(job.ID), want)
	_, _, err = s.Claim(s.ctx, job.ID, "n", noon.Add(time.Hour-time.Millisecond))
	s.ok("a claim in time", err)
}
