package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// A webhook posts each event as a CloudEvent, signed as Standard Webhooks say
// if there is a secret. The header webhook-id is the event's ID, the same at
// every attempt.
//
// It goes to the address in its config and nowhere else: the [guard] judges
// where the name leads, redirects aren't followed, and no proxy is asked.
// Plain http is for private networks, where allow_private is set.
type webhook struct {
	url    string
	where  string // the URL's scheme and host, for errors
	guard  *guard
	signer *webhooks.Webhook // nil without a secret
}

func (w *webhook) Configure(_ context.Context, settings json.RawMessage) error {
	var s struct {
		table
		URL          string `json:"url"`
		Secret       string `json:"secret"`
		AllowPrivate bool   `json:"allow_private"`
	}
	if err := plugin.Decode(settings, &s); err != nil {
		return err
	}
	if err := w.sign(s.Secret); err != nil {
		return err
	}
	w.guard = newGuard(s.AllowPrivate)
	return w.aim(s.URL)
}

// sign has what is posted signed, if there is a secret.
func (w *webhook) sign(secret string) (err error) {
	if secret == "" {
		return nil
	}
	if w.signer, err = newSigner(secret); err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	return nil
}

// aim sets the address to post to. The error doesn't quote it.
func (w *webhook) aim(address string) error {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return errors.New("url: a webhook needs one")
	case err != nil:
		return errors.New("url: not a URL; want https://host/path")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("url: want https:// in front")
	case u.Hostname() == "":
		return errors.New("url: has no host")
	case u.Scheme == "http" && !w.guard.private:
		return errors.New("url: http:// is for private networks: want https://, or allow_private = true beside it")
	}
	w.url, w.where = address, u.Scheme+"://"+u.Host
	return nil
}

func newSigner(secret string) (*webhooks.Webhook, error) {
	signer, err := webhooks.NewWebhook(secret)
	if err != nil || strings.TrimPrefix(secret, "whsec_") == "" {
		return nil, errors.New("want base64, with or without whsec_ in front")
	}
	return signer, nil
}

func (w *webhook) Notify(ctx context.Context, event core.Event) error {
	req, err := w.request(ctx, event)
	if err != nil {
		return err
	}
	client := http.Client{
		Transport:     w.transport(ctx),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return w.unanswered(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // a close on unread data would look like a failure to the receiver
	return w.judge(resp)
}

func (w *webhook) request(ctx context.Context, event core.Event) (*http.Request, error) {
	body, err := cloudEvent(event)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the url can't be used") // err quotes it
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	req.Header.Set("User-Agent", userAgent())
	req.Header.Set(webhooks.HeaderWebhookID, event.ID)
	req.Header.Set(webhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	if w.signer != nil {
		signature, err := w.signer.Sign(event.ID, now, body)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		req.Header.Set(webhooks.HeaderWebhookSignature, signature)
	}
	return req, nil
}

// transport makes a transport for one request. Events are rare: a connection
// that was kept since the last one would mostly be dead. The dials hold ctx
// because those of net/http outlive the request.
func (w *webhook) transport(ctx context.Context) *http.Transport {
	plain := &net.Dialer{Control: w.guard.control}
	secure := &tls.Dialer{NetDialer: plain, Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	return &http.Transport{
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return plain.DialContext(ctx, network, address)
		},
		DialTLSContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return secure.DialContext(ctx, network, address)
		},
	}
}

// unanswered is the error of a request that had no answer. The client's own
// quotes the URL; the one within it doesn't.
func (w *webhook) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s didn't answer in time: %w", w.where, ctx.Err())
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return fmt.Errorf("%s: %s", w.where, oneLine(err.Error()))
}

// judge is nil if the event has arrived. Not every answer of the kind 4xx is
// about the event: some are about the address or a secret, which a reload
// mends, and some mean later. After these it is sent again.
func (w *webhook) judge(resp *http.Response) error {
	code := resp.StatusCode
	switch {
	case code >= 200 && code <= 299:
		return nil
	case code >= 300 && code <= 399:
		to := ""
		if u, err := resp.Location(); err == nil {
			to = " to " + u.Scheme + "://" + u.Host
		}
		return fmt.Errorf("%s answered %d, a redirect%s: it isn't followed, put the final address into url", w.where, code, to)
	}
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		if code >= 400 && code <= 499 {
			return fmt.Errorf("%w: %s answered %d", core.ErrUndeliverable, w.where, code)
		}
	}
	return fmt.Errorf("%s answered %d", w.where, code)
}

// cloudEvent is the event as CloudEvents 1.0 in structured JSON: source is the
// target that foreman watches, data the event as it is everywhere else.
func cloudEvent(event core.Event) ([]byte, error) {
	data, err := eventJSON(event)
	if err != nil {
		return nil, err
	}
	source := event.Target
	if source == "" {
		source = "foreman"
	}
	return json.Marshal(struct {
		SpecVersion     string          `json:"specversion"`
		ID              string          `json:"id"`
		Source          string          `json:"source"`
		Type            string          `json:"type"`
		Time            time.Time       `json:"time"`
		DataContentType string          `json:"datacontenttype"`
		Data            json.RawMessage `json:"data"`
	}{"1.0", event.ID, source, "foreman." + string(event.Type), event.At, "application/json", data})
}

func userAgent() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return "foreman/" + info.Main.Version
	}
	return "foreman"
}
