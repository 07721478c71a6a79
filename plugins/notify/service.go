package notify

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/format"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ntfy"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
)

// A service sends each event's sentence through shoutrrr, which knows some two
// dozen chat, push and mail services by their URLs.
//
// A self-hosted one mostly is in a private network, so that the addresses
// aren't guarded as a webhook's are. What would only be an unguarded webhook,
// generic://, is refused, and so is logger://, which tells nobody.
//
// shoutrrr knows no context: a send that outlives its own goes on in the
// background until the other side ends it, and may still deliver.
type service struct {
	raw      string
	redactor *redactor
	busy     chan struct{}      // one for each send under way
	idle     chan types.Service // ready for another: they keep connections and sessions
}

// maxBusy is how many sends may be under way, nearly always one. More are
// refused: those before them hang.
const maxBusy = 4

// Configure checks the URL without contacting the service.
func (s *service) Configure(_ context.Context, settings json.RawMessage) error {
	var in struct {
		table
		URL string `json:"url"`
	}
	if err := plugin.Decode(settings, &in); err != nil {
		return err
	}
	u, err := url.Parse(in.URL)
	switch {
	case in.URL == "":
		return errors.New("url: a service needs one, such as ntfy://ntfy.sh/topic")
	case err != nil || u.Scheme == "":
		return errors.New("url: not a URL; want one such as ntfy://ntfy.sh/topic")
	}
	switch name, _, _ := strings.Cut(u.Scheme, "+"); name {
	case "generic":
		return errors.New(`url: for generic:// use type = "webhook"`)
	case "logger":
		return errors.New(`url: for logger:// use type = "log"`)
	case "matrix":
		password, _ := u.User.Password()
		u.User = url.UserPassword("", password) // with a name it would log in
	}
	s.redactor = newRedactor(in.URL, u)
	if _, err := open(u); err != nil {
		return fmt.Errorf("url: %s", s.redactor.clean(err))
	}
	s.raw = in.URL
	s.busy, s.idle = make(chan struct{}, maxBusy), make(chan types.Service, maxBusy)
	return nil
}

func (s *service) Notify(ctx context.Context, event core.Event) error {
	select {
	case s.busy <- struct{}{}:
	default:
		return fmt.Errorf("%d messages before this one are still being sent", maxBusy)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-s.busy }()
		done <- s.send(event)
	}()
	select {
	case err := <-done:
		if err != nil {
			return errors.New(s.redactor.clean(err))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the service didn't answer in time: %w", ctx.Err())
	}
}

// send sends through an idle shoutrrr service or a new one. One that failed
// isn't used again: its session may have expired.
func (s *service) send(event core.Event) (err error) {
	defer func() {
		if p := recover(); p != nil { // in a goroutine it would end the process
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var through types.Service
	select {
	case through = <-s.idle:
	default:
		u, err := url.Parse(s.raw)
		if err != nil {
			return err
		}
		if through, err = open(u); err != nil {
			return err
		}
	}
	if n, ok := through.(*ntfy.Service); ok {
		renew(n)
	}
	params := types.Params{}
	params.SetTitle("foreman: " + string(event.Type))
	err = through.Send(event.Sentence, &params)
	if errors.Is(err, format.ErrInvalidConfigKey) { // it has no titles, and says so before it sends
		err = through.Send(event.Sentence, nil)
	}
	if err == nil {
		s.idle <- through
	}
	return err
}

// renew gives an ntfy service the client for one message: with its own the
// headers of earlier messages stay, and a connection that nobody closes.
func renew(n *ntfy.Service) {
	n.SetHTTPClient(&http.Client{
		Timeout: ntfy.HTTPTimeout * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: n.Config.DisableTLSVerification},
		},
	})
}

// open makes the shoutrrr service of a URL, which it may change. It does what
// shoutrrr's router does but keeps the reason of a refusal.
func open(u *url.URL) (made types.Service, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not a URL of this service: %v", p)
		}
	}()
	name, _, custom := strings.Cut(u.Scheme, "+")
	if made, err = new(router.ServiceRouter).NewService(name); err != nil {
		return nil, err
	}
	if custom {
		convert, ok := made.(types.CustomURLService)
		if !ok {
			return nil, fmt.Errorf("%s:// has no form with a +", name)
		}
		if u, err = convert.GetConfigURLFromCustom(u); err != nil {
			return nil, err
		}
	}
	return made, made.Initialize(u, nil)
}
