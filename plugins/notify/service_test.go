package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
)

// serveService serves answer, and returns the server's host and port.
func serveService(tb testing.TB, answer http.HandlerFunc) string {
	tb.Helper()
	srv := httptest.NewServer(answer)
	tb.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestServiceNtfy(t *testing.T) {
	type message struct{ Path, Title, User, Password, Body string }
	var got []message
	closed := make(chan struct{}, 2)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m := message{Path: r.URL.Path, Title: strings.Join(r.Header["Title"], "+"), Body: string(body)}
		m.User, m.Password, _ = r.BasicAuth()
		got = append(got, m)
		_, _ = io.WriteString(w, `{"id":"x"}`)
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	srv.Start()
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	n := configured(t, "service", map[string]any{"url": "ntfy://me:s3cret@" + host + "/alerts?scheme=http"})
	recovered := degraded
	recovered.Type, recovered.Sentence = core.EventRecovered, "the target is back"
	for _, event := range []core.Event{degraded, recovered} {
		if err := n.Notify(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	want := []message{
		{"/alerts", "foreman: degraded", "me", "s3cret", "the target is away: connection refused"},
		{"/alerts", "foreman: recovered", "me", "s3cret", "the target is back"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	for range want {
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Fatal("a message leaves its connection behind")
		}
	}
}

func TestServiceGotify(t *testing.T) {
	const token = "Aaaaaaaaas3cret"
	var title, message, auth string
	var code atomic.Int32
	code.Store(http.StatusOK)
	host := serveService(t, func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Title, Message string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		title, message, auth = m.Title, m.Message, r.URL.Query().Get("token")
		w.WriteHeader(int(code.Load()))
		_, _ = io.WriteString(w, `{"error":"Unauthorized","errorCode":401,"errorDescription":"bad token `+token+`"}`)
	})
	n := configured(t, "service", map[string]any{"url": "gotify://" + host + "/" + token + "?disabletls=yes"})
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Fatal(err)
	}
	if title != "foreman: degraded" || message != degraded.Sentence || auth != token {
		t.Errorf("got %q, %q with token %q", title, message, auth)
	}
	code.Store(http.StatusUnauthorized)
	err := n.Notify(t.Context(), degraded)
	if err == nil || errors.Is(err, core.ErrUndeliverable) || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("a wrong token: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error tells the token: %v", err)
	}
}

// Each login leaves another device in a Matrix account.
func TestServiceMatrixLogsInOnce(t *testing.T) {
	var logins, messages int
	host := serveService(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/login"):
			logins++
		case strings.Contains(r.URL.Path, "/send/"):
			messages++
		}
		_, _ = io.WriteString(w, `{"flows":[{"type":"m.login.password"}],"access_token":"token","joined_rooms":["!ops:h"]}`)
	})
	defer http.DefaultClient.CloseIdleConnections()
	n := configured(t, "service", map[string]any{"url": "matrix://me:s3cret@" + host + "/?disableTLS=yes"})
	for range 3 {
		if err := n.Notify(t.Context(), degraded); err != nil {
			t.Fatal(err)
		}
	}
	if logins != 1 || messages != 3 {
		t.Errorf("%d logins for %d messages, want 1 for 3", logins, messages)
	}
}

// PagerDuty's events have no title, and shoutrrr refuses one.
func TestServiceWithoutTitles(t *testing.T) {
	var summary string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Payload struct{ Summary string } }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		summary = m.Payload.Summary
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	host := strings.TrimPrefix(srv.URL, "https://")
	n := configured(t, "service", map[string]any{"url": "pagerduty://" + host + "/" + strings.Repeat("ab", 16)})
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Fatal(err)
	}
	if summary != degraded.Sentence {
		t.Errorf("the summary is %q", summary)
	}
}

func TestServiceMail(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	mails := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		mails <- takeMail(conn)
	}()
	n := configured(t, "service", map[string]any{
		"url": "smtp://" + listener.Addr().String() + "/?from=foreman@example.com&to=ops@example.com",
	})
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Fatal(err)
	}
	mail := <-mails
	for _, want := range []string{"Subject: foreman: degraded\n", "To: ops@example.com\n", "\n\n" + degraded.Sentence} {
		if !strings.Contains(mail, want) {
			t.Errorf("the mail lacks %q:\n%s", want, mail)
		}
	}
}

// takeMail is an SMTP server for one mail, which it returns.
func takeMail(conn net.Conn) string {
	text := textproto.NewConn(conn)
	defer func() { _ = text.Close() }()
	_ = text.PrintfLine("220 mail.example.com")
	var mail string
	for {
		line, err := text.ReadLine()
		if err != nil {
			return mail
		}
		switch verb, _, _ := strings.Cut(line, " "); verb {
		case "DATA":
			_ = text.PrintfLine("354 go on")
			lines, _ := text.ReadDotLines()
			mail = strings.Join(lines, "\n")
			_ = text.PrintfLine("250 taken")
		case "QUIT":
			_ = text.PrintfLine("221 bye")
		default:
			_ = text.PrintfLine("250 ok")
		}
	}
}

// shoutrrr can't be stopped: what hangs must neither hold the caller nor pile
// up, and a service that speaks again is usable again.
func TestServiceHangs(t *testing.T) {
	arrived, over := make(chan struct{}, 2*maxBusy), make(chan struct{})
	host := serveService(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-over
		_, _ = io.WriteString(w, `{}`)
	})
	n := configured(t, "service", map[string]any{"url": "ntfy://" + host + "/s3cret?scheme=http"})
	for range maxBusy {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if err := n.Notify(ctx, degraded); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the context's end", err)
		}
	}
	if err := n.Notify(t.Context(), degraded); err == nil || !strings.Contains(err.Error(), "still being sent") {
		t.Errorf("%v, want that enough is under way", err)
	}
	close(over)
	s := n.(*service)
	for range maxBusy { // every place is free again
		select {
		case s.busy <- struct{}{}:
		case <-time.After(10 * time.Second):
			t.Fatal("the sends that hung don't end")
		}
	}
	for range maxBusy {
		<-s.busy
	}
	if err := n.Notify(t.Context(), degraded); err != nil {
		t.Errorf("after all of them ended: %v", err)
	}
}

// foreman configures its notifiers before it looks at the network.
func TestServiceConfigureContactsNobody(t *testing.T) {
	host := serveService(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	for _, url := range []string{
		"matrix://me:s3cret@" + host + "/?disableTLS=yes&rooms=!ops",
		"ntfy://" + host + "/topic?scheme=http",
		"gotify://" + host + "/Aaaaaaaaas3cret?disabletls=yes",
		"mattermost://" + host + "/s3cret?disabletls=yes",
		"smtp://" + host + "/?from=a@example.com&to=b@example.com",
	} {
		if _, err := configure(t.Context(), "service", map[string]any{"url": url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestServiceErrorsTellNoSecret(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	host := strings.TrimPrefix(srv.URL, "http://")
	srv.Close()
	for _, url := range []string{
		"ntfy://me:s3cret-pw@" + host + "/s3cret-topic?scheme=http",
		"gotify://" + host + "/Aaaaaaaaas3cret?disabletls=yes",
		"mattermost://" + host + "/s3crettoken?disabletls=yes",
		"matrix://me:s3cretpw@" + host + "/?disableTLS=yes",
		"rocketchat://" + host + "/s3crettokenA/s3crettokenB/room?x=y",
		"bark://:s3cretkey@" + host + "/?scheme=http",
	} {
		err := configured(t, "service", map[string]any{"url": url}).Notify(t.Context(), degraded)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: the error doesn't say what is wrong: %v", url, err)
		}
	}
}
