package api_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

func TestRootIsWhatStockClientsLookFor(t *testing.T) {
	f := start(t, nothing(), nil)
	for method, body := range map[string]string{"GET": "Ollama is running", "HEAD": ""} {
		got := f.do(method, "/", "")
		if got.status != 200 || got.body != body {
			t.Errorf("%s: %d %q", method, got.status, got.body)
		}
		got.header.Del("Date")
		want := http.Header{
			"Content-Length": {"17"}, "Content-Type": {"text/plain; charset=utf-8"}, "Server": {"foreman/1.2.3"},
		}
		if diff := cmp.Diff(want, got.header); diff != "" {
			t.Errorf("%s: header (-want +got):\n%s", method, diff)
		}
	}
}

func TestVersionIsTheTargetsAndCached(t *testing.T) {
	f := start(t, found(), nil)
	f.get("/api/version").says(t, 200, `{"version":"0.17.4"}`)
	f.believe(lost(f.Snapshot()))
	f.get("/api/version").says(t, 200, `{"version":"0.17.4"}`)
	if rechecks, _ := f.asked(); rechecks != 0 {
		t.Errorf("the target was looked at %d times", rechecks)
	}
}

func TestVersionThatNobodyHasTold(t *testing.T) {
	f := start(t, after(nothing(), fails(core.ReasonDNS)), nil)
	got := f.get("/api/version")
	got.says(t, 503, `{"error":"foreman can't reach its target: dns"}`)

	silent := sees(time.Now(), nil, nil)
	silent.Version = ""
	f.believe(after(nothing(), silent))
	f.get("/api/version").says(t, 200, `{"version":""}`)
}

func TestTagsAreTheTargetsBytesNewestFirst(t *testing.T) {
	const (
		newest  = `{"name":"b:latest","digest":"1","modified_at":"2026-11-23T08:19:06+01:00","new":{"x":[1, 2.50]}, "é":"<&>"}`
		tieA    = `{"name":"a:latest","digest":"2","modified_at":"2026-11-23T07:19:04Z","size":3}`
		tieC    = `{"digest":"3","modified_at":"2026-11-23T08:19:04+01:00","name":"c:latest"}`
		oldest  = `{"name":"0:latest","modified_at":"2020-01-01T00:00:00Z","details":{"families":null}}`
		noModel = `{"name":"not a name!","modified_at":"2019-01-01T00:00:00Z"}`
	)
	for _, order := range [][]string{{tieC, oldest, newest, tieA, noModel}, {noModel, tieA, tieC, newest, oldest}} {
		var models []core.Model
		for _, raw := range order {
			models = append(models, model(raw))
		}
		got := start(t, found(models...), nil).get("/api/tags")
		want := `{"models":[` + newest + "," + tieA + "," + tieC + "," + oldest + "," + noModel + `]}`
		if got.status != 200 || got.body != want {
			t.Errorf("answered %d %s\nwant %s", got.status, got.body, want)
		}
		if is := got.header.Get("Content-Type"); is != "application/json; charset=utf-8" {
			t.Errorf("Content-Type %q, unlike Ollama's", is)
		}
	}
}

func TestPSKeepsTheTargetsOrderAndDuplicates(t *testing.T) {
	const (
		first  = `{"name":"z:latest","expires_at":"2318-01-01T00:00:00Z","size_vram":0, "new":null}`
		second = `{"name":"a:latest","expires_at":"2026-11-23T08:19:04Z"}`
	)
	residents := []core.Resident{resident(first), resident(second), resident(first)}
	f := start(t, after(nothing(), sees(time.Now(), nil, residents)), nil)
	if got, want := f.get("/api/ps").body, `{"models":[`+first+","+second+","+first+`]}`; got != want {
		t.Errorf("answered %s\nwant %s", got, want)
	}
}

func TestListsOfNothingAreEmptyArrays(t *testing.T) {
	f := start(t, found(), nil)
	for path, want := range map[string]string{
		"/api/tags":  `{"models":[]}`,
		"/api/ps":    `{"models":[]}`,
		"/v1/models": `{"object":"list","data":[]}`,
	} {
		if got := f.get(path); got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s, want %s", path, got.status, got.body, want)
		}
	}
}

func TestResidencyThatNobodyHasToldHasNoAge(t *testing.T) {
	untold := sees(time.Now(), nil, nil)
	untold.Residency, untold.ResidencyFault = nil, &core.Fault{Reason: core.ReasonTimeout}
	f := start(t, after(nothing(), untold), nil)
	got := f.get("/api/ps")
	if _, aged := got.header["Foreman-Inventory-Age"]; got.status != 200 || got.body != `{"models":[]}` || aged {
		t.Errorf("/api/ps: %d %s, with an age: %t", got.status, got.body, aged)
	}
	if got := f.get("/api/tags"); got.header.Get("Foreman-Inventory-Age") != "0" {
		t.Errorf("/api/tags: %v", got.header)
	}
}

func TestHeadOfAListIsItsHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(named("tiny:latest")), nil)
		for _, path := range []string{"/api/tags", "/api/ps", "/v1/models", "/v1/models/tiny", "/api/version", "/healthz"} {
			get, head := f.get(path), f.do("HEAD", path, "")
			if head.status != 200 || head.body != "" {
				t.Errorf("HEAD %s: %d %q", path, head.status, head.body)
			}
			if diff := cmp.Diff(get.header, head.header); diff != "" {
				t.Errorf("HEAD %s (-get +head):\n%s", path, diff)
			}
		}
	})
}

func TestListsTellTheirAgeAndWhetherTheTargetIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, found(named("tiny:latest")), nil)
		check := func(when, age, degraded string) {
			t.Helper()
			for _, path := range []string{"/api/tags", "/api/ps", "/v1/models"} {
				got := f.get(path)
				if a, d := got.header.Get("Foreman-Inventory-Age"), got.header.Get("Foreman-Degraded"); a != age || d != degraded {
					t.Errorf("%s, %s: age %s, degraded %s; want %s, %s", when, path, a, d, age, degraded)
				}
			}
		}
		check("just polled", "0", "false")
		time.Sleep(90*time.Second + 900*time.Millisecond)
		check("later", "90", "false")
		f.believe(after(f.Snapshot(), fails(core.ReasonTimeout)))
		check("one failure", "90", "false")
		f.believe(lost(f.Snapshot()))
		check("many failures", "90", "true")
		f.believe(after(f.Snapshot(), sees(time.Now().Add(time.Hour), nil, nil)))
		check("confirmed by a clock that was set back since", "0", "true") // one success: not healthy yet
	})
}

func TestETags(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil)
	for _, path := range []string{"/api/tags", "/api/ps", "/v1/models"} {
		tag := f.get(path).header.Get("ETag")
		if len(tag) < 10 || tag[0] != '"' {
			t.Fatalf("%s: ETag %s", path, tag)
		}
		for _, c := range []struct {
			ifNoneMatch string
			want        int
		}{
			{tag, 304},
			{"W/" + tag, 304},
			{"*", 304},
			{`"other", W/"more",` + tag, 304},
			{`"other" , ` + tag + ` ,"x"`, 304},
			{`"other"`, 200},
			{`w/` + tag, 200},
			{tag[1 : len(tag)-1], 200},
			{"", 200},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				got := f.do(method, path, "", "If-None-Match: "+c.ifNoneMatch)
				if got.status != c.want || (got.status == 304) != (got.body == "" && got.header.Get("Content-Length") == "") {
					t.Errorf("%s %s, If-None-Match: %s: %d %q", method, path, c.ifNoneMatch, got.status, got.body)
				}
				for _, name := range []string{"Etag", "Foreman-Inventory-Age", "Foreman-Degraded"} {
					if got.header.Get(name) == "" {
						t.Errorf("%s %s, If-None-Match: %s: %d without %s", method, path, c.ifNoneMatch, got.status, name)
					}
				}
			}
		}
		if got := f.get(path, `If-None-Match: "other"`, "If-None-Match: "+tag); got.status != 304 {
			t.Errorf("%s, two lines of If-None-Match: %d", path, got.status)
		}
	}
}

func TestETagFollowsTheListAlone(t *testing.T) {
	f := start(t, found(named("a:latest"), named("b:latest")), nil)
	before := f.get("/api/tags").header.Get("ETag")
	f.believe(after(lost(f.Snapshot()), sees(time.Now(), []core.Model{named("b:latest"), named("a:latest")}, nil)))
	if got := f.get("/api/tags", "If-None-Match: "+before); got.status != 304 {
		t.Errorf("the same models in another order: %d", got.status)
	}
	f.believe(found(named("a:latest")))
	if got := f.get("/api/tags", "If-None-Match: "+before); got.status != 200 || got.header.Get("ETag") == before {
		t.Errorf("a model less: %d, ETag %s as before", got.status, before)
	}
}

func TestNoCacheLooksAtTheTargetFirst(t *testing.T) {
	for _, line := range []string{"Cache-Control: no-cache", "Cache-Control: max-age=0, No-Cache", "Pragma: no-cache"} {
		for _, path := range []string{"/api/tags", "/v1/models", "/api/ps"} {
			f := start(t, found(), nil)
			f.recheck = func(_ context.Context, s *core.Snapshot) *core.Snapshot {
				return after(s, sees(time.Now(), []core.Model{named("new:latest")}, []core.Resident{resident(`{"name":"new:latest"}`)}))
			}
			old := f.get(path, "Cache-Control: max-age=0")
			if got := f.get(path, line, "If-None-Match: "+old.header.Get("ETag")); got.status != 200 || got.body == old.body {
				t.Errorf("%s, %s: %d %s", path, line, got.status, got.body)
			}
			if rechecks, _ := f.asked(); rechecks != 1 {
				t.Errorf("%s, %s: %d rechecks", path, line, rechecks)
			}
		}
	}
}

func TestNoCacheGetsTheOldListWhileTheTargetIsAway(t *testing.T) {
	f := start(t, found(named("tiny:latest")), nil)
	f.recheck = func(_ context.Context, s *core.Snapshot) *core.Snapshot { return lost(s) }
	got := f.get("/api/tags", "Cache-Control: no-cache")
	if got.status != 200 || got.header.Get("Foreman-Degraded") != "true" || !cmp.Equal(got.body, f.get("/api/tags").body) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

func TestTheFirstCallerWaitsForTheFirstPoll(t *testing.T) {
	for _, path := range []string{"/api/tags", "/api/ps", "/v1/models", "/v1/models/tiny", "/api/version"} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, nothing(), nil)
			f.recheck = func(context.Context, *core.Snapshot) *core.Snapshot {
				time.Sleep(time.Second)
				return found(named("tiny:latest"))
			}
			began := time.Now()
			if got := f.get(path); got.status != 200 || time.Since(began) != time.Second {
				t.Errorf("%s: %d after %v: %s", path, got.status, time.Since(began), got.body)
			}
		})
	}
}

func TestNothingIsKnown(t *testing.T) {
	const openAI = `{"error":{"code":null,"message":"foreman can't reach its target: timeout","param":null,"type":"api_error"}}`
	f := start(t, after(nothing(), fails(core.ReasonTimeout)), nil)
	for path, body := range map[string]string{
		"/api/tags":       `{"error":"foreman can't reach its target: timeout"}`,
		"/api/ps":         `{"error":"foreman can't reach its target: timeout"}`,
		"/v1/models":      openAI,
		"/v1/models/tiny": openAI,
	} {
		got := f.get(path)
		got.says(t, 503, body)
		if after := got.header.Get("Retry-After"); after != "2" {
			t.Errorf("%s: Retry-After %q", path, after)
		}
	}
	f.believe(nothing())
	f.get("/api/tags").says(t, 503, `{"error":"foreman has not looked at its target yet"}`)
}

// The stock client's ps follows its stop at once.
func TestPSWaitsForALookAfterALoadOrAnUnload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tiny, empty = `{"name":"tiny:latest"}`, `{"models":[]}`
		loaded := core.Resident{Name: "tiny:latest", Raw: []byte(tiny)}
		installed := []core.Model{named("tiny:latest")}
		f := start(t, after(nothing(), sees(time.Now(), installed, []core.Resident{loaded})), http.HandlerFunc(answers))
		f.recheck = func(_ context.Context, s *core.Snapshot) *core.Snapshot {
			time.Sleep(time.Second)
			return after(s, sees(time.Now(), installed, nil))
		}
		time.Sleep(time.Minute)
		for _, c := range []struct {
			when, request, ps string
			rechecks          int
		}{
			{"nobody asked for anything", "", `{"models":[` + tiny + `]}`, 0},
			{"a model that is loaded worked", `{"model":"tiny"}`, `{"models":[` + tiny + `]}`, 0},
			{"it was unloaded", `{"model":"tiny","keep_alive":"0s"}`, empty, 1},
			{"it has been looked at since", "", empty, 1},
			{"it was loaded", `{"model":"tiny"}`, empty, 2},
			{"another name, unchecked, was loaded", `{"model":"x:cloud"}`, empty, 3},
		} {
			if c.request != "" {
				if got := f.do("POST", "/api/generate", c.request); got.status != 200 {
					t.Fatalf("%s: %d %s", c.when, got.status, got.body)
				}
			}
			ps := f.get("/api/ps")
			if rechecks, _ := f.asked(); ps.body != c.ps || rechecks != c.rechecks {
				t.Errorf("%s: %s after %d looks, want %s after %d", c.when, ps.body, rechecks, c.ps, c.rechecks)
			}
			time.Sleep(time.Second)
		}
	})
}
