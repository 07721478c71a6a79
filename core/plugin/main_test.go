package plugin

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect is foreman's view of b, over the wire.
func connect(t *testing.T, b core.Backend) *BackendClient {
	t.Helper()
	return NewBackendClient(dial(t, &backendServer{backend: b}))
}

// connectRaw is foreman's view of a plugin that wasn't made with this SDK.
func connectRaw(t *testing.T, s pluginpb.BackendServer) *BackendClient {
	t.Helper()
	return NewBackendClient(dial(t, s))
}

func dial(t *testing.T, s pluginpb.BackendServer) *grpc.ClientConn {
	t.Helper()
	return serveTo(t, func(server *grpc.Server) { pluginpb.RegisterBackendServer(server, s) })
}

// serveTo is a connection to a server on which register puts a service.
func serveTo(t *testing.T, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := newServer(nil)
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return conn
}

// A stub is a backend of functions; one that is nil isn't called.
type stub struct {
	configure func(core.Settings) (core.Upstream, error)
	probe     func(context.Context) (string, error)
	models    func(ctx context.Context, known string) (core.ModelList, error)
	running   func(context.Context) ([]core.Resident, error)
}

func (s stub) Configure(_ context.Context, settings core.Settings) (core.Upstream, error) {
	return s.configure(settings)
}

func (s stub) Probe(ctx context.Context) (string, error) { return s.probe(ctx) }

func (s stub) Models(ctx context.Context, known string) (core.ModelList, error) {
	return s.models(ctx, known)
}

func (s stub) Running(ctx context.Context) ([]core.Resident, error) { return s.running(ctx) }

// replies is a plugin that always says the same.
type replies struct {
	pluginpb.UnimplementedBackendServer
	version string
	models  *pluginpb.ModelsResponse
	running *pluginpb.RunningResponse
	err     error
}

func (r replies) Configure(context.Context, *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	return &pluginpb.ConfigureResponse{PluginVersion: r.version}, r.err
}

func (r replies) Models(context.Context, *pluginpb.ModelsRequest) (*pluginpb.ModelsResponse, error) {
	return r.models, r.err
}

func (r replies) Running(context.Context, *pluginpb.RunningRequest) (*pluginpb.RunningResponse, error) {
	return r.running, r.err
}
