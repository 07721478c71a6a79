package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// notifierPlugin is go-plugin's view of the notifier plug point, of both sides.
type notifierPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	notifier core.Notifier // nil in foreman
}

func (p notifierPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginpb.RegisterNotifierServer(s, &notifierServer{notifier: p.notifier})
	return nil
}

func (notifierPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewNotifierClient(conn), nil
}

// notifierServer is a [core.Notifier] as the wire sees it.
type notifierServer struct {
	pluginpb.UnimplementedNotifierServer
	notifier core.Notifier
}

func (s *notifierServer) Configure(ctx context.Context, req *pluginpb.NotifierConfigureRequest) (*pluginpb.NotifierConfigureResponse, error) {
	if err := s.notifier.Configure(ctx, object(req.GetSettings())); err != nil {
		return nil, refusal(ctx, err)
	}
	return &pluginpb.NotifierConfigureResponse{PluginVersion: ownVersion()}, nil
}

func (s *notifierServer) Notify(ctx context.Context, req *pluginpb.NotifyRequest) (*pluginpb.NotifyResponse, error) {
	e := req.GetEvent()
	err := s.notifier.Notify(ctx, core.Event{
		ID: e.GetId(), Type: core.EventType(e.GetType()), At: moment(e.GetAt()),
		Target: e.GetTarget(), Sentence: e.GetSentence(), Data: object(e.GetData()),
	})
	if err == nil {
		return &pluginpb.NotifyResponse{}, nil
	}
	code := codes.Unknown // also if its own context ended: foreman may still be waiting
	if errors.Is(err, core.ErrUndeliverable) {
		code = codes.FailedPrecondition
	}
	return nil, status.Error(code, core.OneLine(err.Error(), maxSentence))
}

// object is raw, or the empty object where there is nothing.
func object(raw []byte) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}

// maxSentence is how much of a notifier's error is told, in bytes.
const maxSentence = 1000

// NotifierClient is a notifier at the other end of a connection. It implements
// [core.Notifier]; its errors are the plugin's own sentences, [core.ErrNoAnswer]
// or [context.Canceled].
type NotifierClient struct {
	rpc     pluginpb.NotifierClient
	version string
}

// NewNotifierClient returns the notifier that conn leads to.
func NewNotifierClient(conn grpc.ClientConnInterface) *NotifierClient {
	return &NotifierClient{rpc: pluginpb.NewNotifierClient(conn)}
}

// Configure implements [core.Notifier].
func (c *NotifierClient) Configure(ctx context.Context, settings json.RawMessage) error {
	resp, err := c.rpc.Configure(ctx, &pluginpb.NotifierConfigureRequest{Settings: object(settings)})
	if err != nil {
		return cmp.Or(refused(KindNotifier, err), notifierError(ctx, "configure", err))
	}
	c.version = resp.GetPluginVersion()
	return nil
}

// PluginVersion is what Configure's answer said of the plugin, or "".
func (c *NotifierClient) PluginVersion() string { return c.version }

// Notify implements [core.Notifier].
func (c *NotifierClient) Notify(ctx context.Context, event core.Event) error {
	_, err := c.rpc.Notify(ctx, &pluginpb.NotifyRequest{Event: &pluginpb.Event{
		Id: event.ID, Type: valid(string(event.Type)), At: timestamp(event.At),
		Target: valid(event.Target), Sentence: valid(event.Sentence), Data: object(event.Data),
	}})
	if err != nil {
		return notifierError(ctx, "notify", err)
	}
	return nil
}

// notifierError is the error of a call under ctx. What the plugin's notifier
// said stands alone, as one line; call comes before what foreman or gRPC says.
func notifierError(ctx context.Context, call string, err error) error {
	st := status.Convert(err)
	said := core.OneLine(st.Message(), maxSentence)
	switch {
	case st.Code() == codes.FailedPrecondition:
		return &undeliverable{cmp.Or(said, core.ErrUndeliverable.Error())}
	case st.Code() == codes.ResourceExhausted && strings.Contains(said, "larger than max"):
		// The words of grpc-go about a message that the plugin doesn't take. A
		// plugin itself means with this code that it shall be sent later.
		return &undeliverable{call + ": " + said}
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", call, context.Canceled)
	case st.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("%s: %w", call, core.ErrNoAnswer)
	case st.Code() == codes.Unknown && said != "":
		return errors.New(said)
	default: // also Canceled, if the connection was closed under the call
		return fmt.Errorf("%s: %s", call, cmp.Or(said, st.Code().String()))
	}
}

// An undeliverable is [core.ErrUndeliverable] in other words.
type undeliverable struct{ sentence string }

func (e *undeliverable) Error() string { return e.sentence }

func (e *undeliverable) Unwrap() error { return core.ErrUndeliverable }
