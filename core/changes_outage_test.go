package core_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

func TestRememberedOutage(t *testing.T) {
	for name, tt := range map[string]struct {
		told             bool
		url, looks, want string
	}{
		"still away":           {true, "http://a:1", "fails fails fails", ""},
		"back":                 {true, "http://a:1", "fails fails lists lists", "recovered after 3640s"},
		"back before the fall": {true, "http://a:1", "lists", "recovered after 3610s"},
		"another is away":      {true, "http://b:1", "fails fails", "degraded"},
		"another is well":      {true, "http://b:1", "lists", "recovered after 3610s"},

		"perhaps told, still away": {false, "http://a:1", "fails fails fails", "degraded"},
		"perhaps told, back":       {false, "http://a:1", "lists", "recovered after 3610s"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(2)
			outage := core.Outage{Backend: "ollama", URL: "http://a:1", Since: noon.Add(-time.Hour), Told: tt.told}
			s.snapshot.URL, s.changes.Outage = tt.url, &outage
			var got []string
			for look := range strings.FieldsSeq(tt.looks) {
				for _, event := range s.line(t, look) {
					text := string(event.Type)
					if event.Type == core.EventRecovered {
						var data core.RecoveredData
						if err := json.Unmarshal(event.Data, &data); err != nil {
							t.Fatal(err)
						}
						text += fmt.Sprintf(" after %gs", data.DegradedSeconds)
					}
					got = append(got, text)
				}
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
			if away := strings.Contains(tt.looks, "fails") && !strings.Contains(tt.looks, "lists"); (s.changes.Outage != nil) != away {
				t.Errorf("the outage is %+v at the end", s.changes.Outage)
			}
		})
	}
}

// TestAClockThatWasSetBack is of a foreman that told degraded before.
func TestAClockThatWasSetBack(t *testing.T) {
	s := newStory(2)
	s.changes.Outage = &core.Outage{Backend: "ollama", URL: "http://a:1", Since: noon.Add(time.Hour)}
	events := s.line(t, "lists a")
	var data core.RecoveredData
	if len(events) != 1 || json.Unmarshal(events[0].Data, &data) != nil || data.DegradedSeconds != 0 {
		t.Errorf("told %v", events)
	}
}
