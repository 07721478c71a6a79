package api_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

func TestWhoAsksForAMissingModelIsTold(t *testing.T) {
	f := start(t, found(named("llama3.2:1b")), nil, withTokens)
	for _, c := range []struct {
		method, path, body, header string
		want                       core.MissingData
	}{
		{"POST", "/api/chat", `{"model":"lama3.2"}`, "X-Api-Key: bob secret",
			core.MissingData{Model: "lama3.2", Caller: "bob", Route: "/api/chat", Near: []string{"llama3.2:1b"}}},
		{"POST", "/api/show", `{"name":"Zzz"}`, "Authorization: Bearer alice-secret-0123456789",
			core.MissingData{Model: "Zzz", Caller: "alice", Route: "/api/show", Near: []string{}}},
		{"POST", "/v1/messages", `{"model":"no name"}`, "X-Api-Key: bob secret",
			core.MissingData{Model: "no name", Caller: "bob", Route: "/v1/messages", Near: []string{}}},
		{"GET", "/v1/models/nope", "", "X-Api-Key: bob secret",
			core.MissingData{Model: "nope", Caller: "bob", Route: "/v1/models/", Near: []string{}}},
	} {
		if got := f.do(c.method, c.path, c.body, c.header, "Authorization: Bearer ollama"); got.status != 404 {
			t.Errorf("%s: %d", c.path, got.status)
		}
		if diff := cmp.Diff([]core.MissingData{c.want}, f.missed()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.path, diff)
		}
	}
	free := start(t, found(), nil)
	free.do("POST", "/api/chat", `{"model":"nope"}`, "X-Api-Key: whatever")
	if got := free.missed(); len(got) != 1 || got[0].Caller != "" {
		t.Errorf("where no token is needed: %+v", got)
	}
}

func TestOtherRefusalsAreNoMissingModels(t *testing.T) {
	f := start(t, lost(nothing()), nil, withTokens)
	for request, want := range map[string]int{
		"POST /api/chat " + asksTiny:      503, // nobody knows
		"POST /api/chat {}":               400,
		"POST /api/pull {}":               403,
		"GET /nope {}":                    404,
		"POST /v1/models/tiny {}":         405,
		"GET /v1/models/tiny " + asksTiny: 503,
	} {
		parts := strings.SplitN(request, " ", 3)
		if got := f.do(parts[0], parts[1], parts[2], "X-Api-Key: bob secret"); got.status != want {
			t.Errorf("%s: %d, want %d", request, got.status, want)
		}
	}
	if got := f.do("POST", "/api/chat", `{"model":"nope"}`); got.status != 401 {
		t.Errorf("%d", got.status)
	}
	if got := f.missed(); got != nil {
		t.Errorf("told of %+v", got)
	}
}

func TestAStormForAMissingModelIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), nil, withTokens)
		ask := func(model, header string) {
			f.do("POST", "/api/chat", `{"model":"`+model+`"}`, header)
		}
		for range 180 { // three minutes
			ask("nope", "X-Api-Key: bob secret")
			time.Sleep(time.Second)
		}
		if got := f.missed(); len(got) != 3 {
			t.Errorf("told %d times in three minutes", len(got))
		}
		ask("nope", "X-Api-Key: bob secret")
		ask("nope", "X-Api-Key: alice-secret-0123456789")
		ask("other", "X-Api-Key: bob secret")
		if got := f.missed(); len(got) != 3 {
			t.Errorf("two callers and two models are %+v", got)
		}
	})
}

func TestWhoTriesNamesDoesNotBuryOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(), nil)
		for i := range 500 {
			f.do("POST", "/api/chat", fmt.Sprintf(`{"model":"m%d"}`, i))
		}
		if got := f.missed(); len(got) != 100 {
			t.Errorf("told %d times", len(got))
		}
		time.Sleep(time.Minute)
		f.do("POST", "/api/chat", `{"model":"m1"}`)
		if got := f.missed(); len(got) != 1 {
			t.Errorf("a minute later %d times", len(got))
		}
		f.do("POST", "/api/chat", `{"model":"`+strings.Repeat("x", 100_000)+`"}`)
		if got := f.missed(); len(got) != 1 || len(got[0].Model) > 1000 {
			t.Errorf("of a long name %d bytes are told", len(got[0].Model))
		}
	})
}
