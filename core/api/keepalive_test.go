package api

import "testing"

func TestPinned(t *testing.T) {
	const native = "/api/chat"
	for body, want := range map[string]string{
		`{"model":"a"}`:              `{"keep_alive":"10m0s","model":"a"}`,
		" \n{ \"model\" : \"a\" }\n": " \n{\"keep_alive\":\"10m0s\", \"model\" : \"a\" }\n",
		`{}`:                         `{"keep_alive":"10m0s"}`,
		`{ }`:                        `{"keep_alive":"10m0s" }`,
		`{"options":{"keep_alive":1},"model":"a"}`: `{"keep_alive":"10m0s","options":{"keep_alive":1},"model":"a"}`,
		`{"messages":[{"keep_alive":1}]}`:          `{"keep_alive":"10m0s","messages":[{"keep_alive":1}]}`,
		`{"prompt":"\"keep_alive\":1"}`:            `{"keep_alive":"10m0s","prompt":"\"keep_alive\":1"}`,
		`{"model":"a","keep_alive":0}`:             `{"model":"a","keep_alive":0}`,
		`{"model":"a","keep_alive":null}`:          `{"model":"a","keep_alive":null}`,
		`{"model":"a","Keep_Alive":"1h"}`:          `{"model":"a","Keep_Alive":"1h"}`,
		`{"keep\u005falive":-1}`:                   `{"keep\u005falive":-1}`,
		`{"keep_alive":1,"keep_alive":2}`:          `{"keep_alive":1,"keep_alive":2}`,
		`[{"model":"a"}]`:                          `[{"model":"a"}]`,
		`{"model":`:                                `{"model":`,
		`"{"`:                                      `"{"`,
		``:                                         ``,
	} {
		given := []byte(body)
		if got := string(pinned(native, given)); got != want {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
		if string(given) != body {
			t.Errorf("the body that is kept became %s", given)
		}
	}
	if got := string(pinned("/v1/chat/completions", []byte(`{"model":"a"}`))); got != `{"model":"a"}` {
		t.Errorf("for another route: %s", got)
	}
}
