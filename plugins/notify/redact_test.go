package notify

import (
	"errors"
	"net/url"
	"testing"
)

func TestRedactor(t *testing.T) {
	for _, tt := range []struct{ raw, err, want string }{
		{"telegram://110201543:AAHdqTcvCH1vGWJx@telegram?chats=@ops",
			`Post "https://api.telegram.org/bot110201543:AAHdqTcvCH1vGWJx/sendMessage": dial tcp: no such host`,
			`Post "https://api.telegram.org": dial tcp: no such host`},
		{"slack://hook:TABCDEFGH-BABCDEFGH-tokentoken@webhook", "bad part tokentoken of TABCDEFGH-BABCDEFGH-tokentoken",
			"bad part [redacted] of [redacted]"},
		{"discord://tokentoken@4815162342", `sending to 4815162342: discord://tokentoken@4815162342 is no webhook`,
			"sending to [redacted]: [redacted] is no webhook"},
		{"smtp://me:p%40ss%22word@mail.example.com:25/?from=a@b.c&to=d@e.f", `auth as "p@ss\"word" or p%40ss%22word at mail.example.com: 535`,
			`auth as "[redacted]" or [redacted] at mail.example.com: 535`},
		{"zulip://bot:pass%20word@h.example/", "pass word, pass+word and pass%20word", "[redacted], [redacted] and [redacted]"},
		{"ntfy://ntfy.lan:80/ops?scheme=http", "http: ntfy.lan\n\x1b[2Jcan't", "http: ntfy.lan [2Jcan't"},
	} {
		u, err := url.Parse(tt.raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := newRedactor(tt.raw, u).clean(errors.New(tt.err)); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.raw, got, tt.want)
		}
	}
}
