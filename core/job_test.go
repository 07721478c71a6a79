package core_test

import (
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

func TestParseExpiry(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "2026-11-23T12:00:01Z": time.Second, "2026-11-23T14:00:00+01:00": time.Hour,
		"0s": 0, "-1m": 0, "3": 0, "2026-11-23T12:00:00Z": 0, "tomorrow": 0,
	} {
		at, err := core.ParseExpiry(text, now)
		if (err == nil) != (want > 0) || err == nil && at.Sub(now) != want {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
	if at, err := core.ParseExpiry("", now); at != nil || err != nil {
		t.Errorf("none: %v, %v", at, err)
	}
}
