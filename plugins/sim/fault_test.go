package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/plugins/sim"
)

func TestFaultsAreScripted(t *testing.T) {
	s := sim.New(sim.Options{Models: []sim.Model{}})
	codes := func(path string, n int) []int {
		var all []int
		for range n {
			all = append(all, call(s, "GET", path, "").Code)
		}
		return all
	}
	check := func(step string, got []int, want ...int) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	s.Fail("/api/tags", sim.Status(500, `{"error":"boom"}`))
	s.FailNext("/api/tags", 2, sim.Status(502, ""))
	s.FailNext("*", 1, sim.Status(503, ""))
	check("next, then any, then always", codes("/api/tags", 4), 502, 502, 503, 500)
	check("another path", codes("/api/ps", 1), 200)
	s.Fail("*", sim.Status(504, ""))
	check("every path", codes("/api/ps", 1), 504)
	check("its own before every", codes("/api/tags", 1), 500)
	s.Heal()
	check("healed", codes("/api/tags", 1), 200)
	if got := s.Requests("/api/tags"); got != 6 {
		t.Errorf("counted %d requests, want 6", got)
	}
}

func TestStatusAndBodyAreSentAsTheyAre(t *testing.T) {
	s := start(t, sim.Options{})
	s.FailNext("/api/tags", 1, sim.Status(500, `{"error":"boom"}`))
	s.FailNext("/api/tags", 1, sim.Body("text/html", []byte("\xef\xbb\xbf<html>\xff")))
	s.FailNext("/api/tags", 1, sim.Redirect("http://127.0.0.1:1/elsewhere"))
	type answer struct {
		Code                 int
		Type, Location, Body string
	}
	var got []answer
	for range 3 {
		resp, body := do(t, "GET", s.URL()+"/api/tags", "")
		if resp.StatusCode == 302 {
			body = ""
		}
		got = append(got, answer{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Location"), body})
	}
	want := []answer{
		{500, "application/json; charset=utf-8", "", `{"error":"boom"}`},
		{200, "text/html", "", "\xef\xbb\xbf<html>\xff"},
		{302, "text/html; charset=utf-8", "http://127.0.0.1:1/elsewhere", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHangLastsUntilTheCallerLeaves(t *testing.T) {
	s := start(t, sim.Options{})
	left := make(chan struct{})
	s.Fail("*", func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		sim.Hang()(w, r)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := request(ctx, "POST", s.URL()+"/api/show", `{"model":"x"}`); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the caller's own deadline", err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the caller has left, and the server hasn't noticed")
	}
}

func TestResetBreaksTheConnection(t *testing.T) {
	s := start(t, sim.Options{})
	s.Fail("*", sim.Reset())
	if _, err := request(t.Context(), "GET", s.URL()+"/api/tags", ""); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestTruncateCutsTheBody(t *testing.T) {
	s := start(t, sim.Options{})
	s.Fail("*", sim.Truncate([]byte(`{"models":[]}`), 7))
	resp, err := request(t.Context(), "GET", s.URL()+"/api/tags", "")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if string(body) != `{"model` || !errors.Is(err, io.ErrUnexpectedEOF) || resp.ContentLength != 13 {
		t.Errorf("got %q of %d bytes, %v", body, resp.ContentLength, err)
	}
}

func TestDripTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{})
		s.Fail("*", sim.Drip([]byte(`{"models":[]}`), 5, time.Second))
		began := time.Now()
		w := call(s, "GET", "/api/tags", "")
		if took := time.Since(began); took != 3*time.Second || w.Body.String() != `{"models":[]}` {
			t.Errorf("got %q in %v, want all of it in 3s", w.Body, took)
		}
	})
}

func TestGzipBombInflatesToAList(t *testing.T) {
	s := start(t, sim.Options{})
	for _, size := range []int64{1024, 5000, 1 << 20, 3<<20 + 17} {
		s.FailNext("/api/tags", 1, sim.GzipBomb(size))
		_, body := do(t, "GET", s.URL()+"/api/tags", "")
		var list struct{ Models []struct{ Name string } }
		if err := json.Unmarshal([]byte(body), &list); err != nil || int64(len(body)) != size || len(list.Models) < 10 {
			t.Errorf("inflates to %d bytes, %d models, %v; want %d bytes", len(body), len(list.Models), err, size)
		}
	}
}

func TestGzipBombIsSmallOnTheWire(t *testing.T) {
	s := sim.New(sim.Options{})
	s.Fail("*", sim.GzipBomb(1<<30))
	w := call(s, "GET", "/api/tags", "")
	if n := w.Body.Len(); n > 16<<20 || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("1 GiB takes %d bytes, encoding %q", n, w.Header().Get("Content-Encoding"))
	}
}

func TestAFaultMayBeAnyHandler(t *testing.T) {
	s := sim.New(sim.Options{})
	s.Fail("/api/show", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(bytes.ToUpper(body))
	})
	if got := call(s, "POST", "/api/show", "echo").Body.String(); got != "ECHO" {
		t.Errorf("got %q", got)
	}
}
