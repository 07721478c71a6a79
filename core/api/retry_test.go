package api_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestARequestWaitsForATargetThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got string
		f := start(t, tiny(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = string(body)
		}), retryFor(time.Minute))
		f.leave()
		time.AfterFunc(30*time.Second, func() { f.away.Store(nil) })
		began := time.Now()
		if a := f.do("POST", "/api/chat", asksTiny); a.status != 200 || got != asksTiny {
			t.Errorf("%d %s; the target got %s", a.status, a.body, got)
		}
		if took := time.Since(began); took < 30*time.Second || took > 33*time.Second {
			t.Errorf("answered after %v", took)
		}
		if _, nudges := f.asked(); nudges < 10 || nudges > 60 {
			t.Errorf("%d attempts in half a minute", nudges)
		}
	})
}

func TestARequestDoesNotWaitForEver(t *testing.T) {
	const why = "foreman can't reach its target: refused"
	for path, want := range map[string]string{
		"/api/chat":            `{"error":"` + why + `"}`,
		"/v1/chat/completions": `{"error":{"code":null,"message":"` + why + `","param":null,"type":"api_error"}}`,
		"/v1/messages":         `{"error":{"message":"` + why + `","type":"api_error"},"type":"error"}`,
	} {
		for _, wait := range []time.Duration{0, 5 * time.Second, time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, tiny(), http.NotFoundHandler(), retryFor(wait))
				f.leave()
				began := time.Now()
				got := f.do("POST", path, asksTiny)
				got.says(t, 503, want)
				if got.header.Get("Retry-After") != "2" {
					t.Errorf("%v", got.header)
				}
				if took := time.Since(began); took > wait || took < wait-3*time.Second {
					t.Errorf("%s waits %v of %v", path, took, wait)
				}
				if _, nudges := f.asked(); nudges == 0 || (nudges == 1) != (wait == 0) {
					t.Errorf("%d attempts had the target looked at", nudges)
				}
			})
		}
	}
}

func TestNobodyWaitsForACallerWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, tiny(), http.NotFoundHandler(), retryFor(time.Hour))
		f.leave()
		f.client.Timeout = 10 * time.Second
		if resp, err := f.chat(); err == nil {
			t.Errorf("answered %d", resp.StatusCode)
		}
		synctest.Wait()
		_, before := f.asked()
		time.Sleep(time.Minute)
		if _, after := f.asked(); before == 0 || after != before {
			t.Errorf("%d attempts while the caller waited, %d in all", before, after)
		}
	})
}

func TestATargetThatBreaksOffBeforeItsFirstByteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests < 4 {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, "{}")
		}), retryFor(time.Minute))
		f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}")
	})
}

// A target closes a connection that is idle for long, as does a laptop that
// slept; that is nobody's fault.
func TestAConnectionThatDiedIdleIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, keys := 0, 0
		f := start(t, tiny(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			keys += len(r.Header["Idempotency-Key"])
			if requests++; requests == 2 {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, "{}")
		}))
		began := time.Now()
		for range 2 {
			f.do("POST", "/api/chat", asksTiny).says(t, 200, "{}")
		}
		if requests != 3 || keys != 0 || time.Since(began) != 0 {
			t.Errorf("%d requests with %d keys, %v", requests, keys, time.Since(began))
		}
	})
}
