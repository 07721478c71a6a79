package plugin

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	type settings struct {
		URL   string   `json:"url"`
		Rooms []string `json:"rooms"`
		Door  struct {
			Number int8 `json:"number"`
		} `json:"door"`
	}
	open := settings{URL: "http://x", Rooms: []string{"ops"}}
	open.Door.Number = 7
	for given, want := range map[string]struct {
		settings settings
		err      string
	}{
		"":     {},
		" ":    {},
		"{}":   {},
		" {} ": {},
		`{"url":"http://x","rooms":["ops"],"door":{"number":7}}`: {settings: open},

		`{"urls":1}`:                {err: `settings: unknown field "urls"`},
		`{"door":{"colour":"red"}}`: {err: `settings: unknown field "colour"`},
		`{"url":7}`:                 {err: "settings: url: want string, not number"},
		`{"rooms":{}}`:              {err: "settings: rooms: want []string, not object"},
		`{"door":{"number":300}}`:   {err: "settings: door.number: want int8, not number 300"},
		"[]":                        {err: "settings: want a table"},
		"null":                      {err: "settings: want a table"},
		`"url"`:                     {err: "settings: want a table"},
		"{":                         {err: "settings: unexpected EOF"},
		"{} {}":                     {err: "settings: more than one JSON object"},
		"{}}":                       {err: "settings: more than one JSON object"},
	} {
		var got settings
		text := ""
		if err := Decode(json.RawMessage(given), &got); err != nil {
			text = err.Error()
		}
		if diff := cmp.Diff(want.err, text); diff != "" {
			t.Errorf("%q: error (-want +got):\n%s", given, diff)
		}
		if diff := cmp.Diff(want.settings, got); want.err == "" && diff != "" {
			t.Errorf("%q (-want +got):\n%s", given, diff)
		}
	}
	if err := Decode(nil, new(settings)); err != nil {
		t.Errorf("nothing: %v", err)
	}
}
