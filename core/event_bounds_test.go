package core_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

func TestShortName(t *testing.T) {
	for name, want := range map[string]string{
		"":                             "",
		"tiny:latest":                  "tiny:latest",
		strings.Repeat("x", 512):       strings.Repeat("x", 512),
		strings.Repeat("x", 513):       strings.Repeat("x", 509) + "…",
		strings.Repeat("ä", 300):       strings.Repeat("ä", 254) + "…",
		"x" + strings.Repeat("🦙", 300): "x" + strings.Repeat("🦙", 127) + "…",
		"tiny\xff":                     "tiny\uFFFD",
		strings.Repeat("x\xff", 256):   strings.Repeat("x\uFFFD", 127) + "x…",
		strings.Repeat("\xff", 600):    "\uFFFD…",
	} {
		got := core.ShortName(name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d bytes, %.20q (-want +got):\n%s", len(name), name, diff)
		}
		if again := core.ShortName(got); len(got) > 512 || again != got {
			t.Errorf("%.20q: %d bytes, cut again %d", name, len(got), len(again))
		}
	}
}

// huge makes each string that v holds 64 KiB, and each list a thousand names of
// that.
func huge(v reflect.Value) {
	long := strings.Repeat("x", 64<<10)
	switch {
	case v.Kind() == reflect.String:
		v.SetString(long)
	case v.Type() == reflect.TypeFor[core.Names]():
		names := make(core.Names, 1000)
		for i := range names {
			names[i] = long
		}
		v.Set(reflect.ValueOf(names))
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			huge(v.Field(i))
		}
	}
}

// TestEventsAreBounded tries each type of data with as much as nobody should
// send: it fits what event.schema.json says, and the messages that plugins take.
func TestEventsAreBounded(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	for kind, example := range eventData {
		data := reflect.New(reflect.TypeOf(example)).Elem()
		huge(data)
		if kind == core.EventDegraded { // the schema wants a word
			data.FieldByName("Reason").SetString("refused")
		}
		event := core.NewEvent(kind, noon, long, long, data.Interface())
		if err := validate(t, withID(event)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if len(event.Data) > 256<<10 || len(event.Target) > 4<<10 || len(event.Sentence) > 2<<10 || !utf8.ValidString(event.Sentence) {
			t.Errorf("%s: %d bytes of data, %d of target and %d of sentence", kind, len(event.Data), len(event.Target), len(event.Sentence))
		}
	}
}

// What isn't too long is told as it is.
func TestBoundsLeaveTheRest(t *testing.T) {
	for kind, data := range eventData {
		want, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		got := core.NewEvent(kind, noon, "http://a:1", "so it is", data).Data
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

// The sentence still says what happened where a name would fill it.
func TestSentencesOfLongNames(t *testing.T) {
	long := strings.Repeat("x", 12<<20)
	short := strings.Repeat("x", 509) + "…"
	s := newStory(1)
	told := s.line(t, "lists a | a")
	var many []string
	for i := range 12 {
		many = append(many, string(rune('b'+i)))
	}
	told = append(told, s.line(t, "lists "+long+" | "+strings.Join(many, " "))...)
	told = append(told, core.NewJobEvent(core.Job{ID: "J", Model: long, State: core.JobFailed, Error: "status 500"}, noon, ""))
	var got []string
	for _, event := range told {
		got = append(got, event.Sentence)
	}
	want := []string{
		"model " + short + " was installed", "model a was removed",
		"loaded b, c, d, e, f, g, h, i, j, k and 2 more; unloaded a",
		"job J for " + short + " has failed: status 500",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
