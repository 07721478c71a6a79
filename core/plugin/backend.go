package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// backendPlugin is go-plugin's view of the backend plug point, of both sides.
type backendPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	backend core.Backend // nil in foreman
}

func (p backendPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginpb.RegisterBackendServer(s, &backendServer{backend: p.backend})
	return nil
}

func (backendPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewBackendClient(conn), nil
}

// backendServer is a [core.Backend] as the wire sees it.
type backendServer struct {
	pluginpb.UnimplementedBackendServer
	backend core.Backend
}

func (s *backendServer) Configure(ctx context.Context, req *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	up, err := s.backend.Configure(ctx, core.Settings{
		URL: req.GetUrl(), Token: req.GetToken(), Extra: req.GetSettings(),
	})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	resp := &pluginpb.ConfigureResponse{Url: up.URL, V1Only: up.V1Only, PluginVersion: ownVersion()}
	for name, values := range up.Header {
		for _, v := range values {
			resp.Headers = append(resp.Headers, &pluginpb.Header{Name: name, Value: v})
		}
	}
	return resp, nil
}

func (s *backendServer) Probe(ctx context.Context, _ *pluginpb.ProbeRequest) (*pluginpb.ProbeResponse, error) {
	version, err := s.backend.Probe(ctx)
	if err != nil {
		return nil, errorToWire(err)
	}
	return &pluginpb.ProbeResponse{Version: version}, nil
}

func (s *backendServer) Models(ctx context.Context, req *pluginpb.ModelsRequest) (*pluginpb.ModelsResponse, error) {
	list, err := s.backend.Models(ctx, req.GetKnown())
	if err != nil {
		return nil, errorToWire(err)
	}
	resp := &pluginpb.ModelsResponse{Fingerprint: list.Fingerprint, Unchanged: list.Unchanged}
	resp.Models = make([]*pluginpb.Model, len(list.Models))
	all := make([]pluginpb.Model, len(list.Models)) // one allocation for all of them
	for i, m := range list.Models {
		resp.Models[i] = &all[i]
		p := resp.Models[i]
		p.Name, p.Digest, p.Size, p.ModifiedAt = m.Name, m.Digest, m.Size, timestamp(m.ModifiedAt)
		p.Family, p.ParameterSize, p.Quantization, p.Raw = m.Family, m.ParameterSize, m.Quantization, m.Raw
	}
	return resp, nil
}

func (s *backendServer) Running(ctx context.Context, _ *pluginpb.RunningRequest) (*pluginpb.RunningResponse, error) {
	residents, err := s.backend.Running(ctx)
	if err != nil {
		return nil, errorToWire(err)
	}
	resp := &pluginpb.RunningResponse{Models: make([]*pluginpb.Resident, len(residents))}
	for i, r := range residents {
		resp.Models[i] = &pluginpb.Resident{
			Name: r.Name, Digest: r.Digest, Size: r.Size, SizeVram: r.SizeVRAM,
			ContextLength: r.ContextLength, ExpiresAt: timestamp(r.ExpiresAt), Raw: r.Raw,
		}
	}
	return resp, nil
}

// BackendClient is a backend at the other end of a connection. It implements
// [core.Backend]; its errors are [*core.Fault], [core.ErrNoAnswer] or
// [context.Canceled].
type BackendClient struct {
	rpc     pluginpb.BackendClient
	version string
}

// NewBackendClient returns the backend that conn leads to.
func NewBackendClient(conn grpc.ClientConnInterface) *BackendClient {
	return &BackendClient{rpc: pluginpb.NewBackendClient(conn)}
}

// Configure implements [core.Backend]. An error about the settings is a plain
// one, with the plugin's own sentence.
func (c *BackendClient) Configure(ctx context.Context, settings core.Settings) (core.Upstream, error) {
	resp, err := c.rpc.Configure(ctx, &pluginpb.ConfigureRequest{
		Url: settings.URL, Token: settings.Token, Settings: settings.Extra,
	})
	if err != nil {
		return core.Upstream{}, cmp.Or(refused(KindBackend, err), errorFromWire(ctx, "configure", err))
	}
	c.version = resp.GetPluginVersion()
	up := core.Upstream{URL: resp.GetUrl(), Header: http.Header{}, V1Only: resp.GetV1Only()}
	for _, h := range resp.GetHeaders() {
		up.Header.Add(h.GetName(), h.GetValue())
	}
	return up, nil
}

// PluginVersion is what Configure's answer said of the plugin, or "".
func (c *BackendClient) PluginVersion() string { return c.version }

// Probe implements [core.Backend].
func (c *BackendClient) Probe(ctx context.Context) (string, error) {
	resp, err := c.rpc.Probe(ctx, &pluginpb.ProbeRequest{})
	if err != nil {
		return "", errorFromWire(ctx, "probe", err)
	}
	return resp.GetVersion(), nil
}

// Models implements [core.Backend].
func (c *BackendClient) Models(ctx context.Context, known string) (core.ModelList, error) {
	resp, err := c.rpc.Models(ctx, &pluginpb.ModelsRequest{Known: known})
	if err != nil {
		return core.ModelList{}, errorFromWire(ctx, "list models", err)
	}
	if resp.GetUnchanged() {
		if known == "" || resp.GetFingerprint() != known {
			return core.ModelList{}, brokenPromise("list models: says unchanged of a list it wasn't asked about")
		}
		return core.ModelList{Fingerprint: known, Unchanged: true}, nil
	}
	models := make([]core.Model, len(resp.GetModels()))
	var parts errgroup.Group
	for from := 0; from < len(models); from += partSize {
		parts.Go(func() error {
			to := min(from+partSize, len(models))
			return modelsFromWire(models[from:to], resp.GetModels()[from:to])
		})
	}
	if err := parts.Wait(); err != nil {
		return core.ModelList{}, err
	}
	return core.ModelList{Fingerprint: resp.GetFingerprint(), Models: models}, nil
}

// partSize is how many models one core takes at a time: to see that each
// one's JSON is valid is most of what a long list costs foreman.
const partSize = 1024

func modelsFromWire(models []core.Model, wire []*pluginpb.Model) error {
	for i, m := range wire {
		models[i] = core.Model{
			Name: m.GetName(), Digest: m.GetDigest(), Size: m.GetSize(), ModifiedAt: moment(m.GetModifiedAt()),
			Family: m.GetFamily(), ParameterSize: m.GetParameterSize(), Quantization: m.GetQuantization(), Raw: m.GetRaw(),
		}
		if len(models[i].Raw) == 0 {
			models[i].Raw = modelJSON(models[i])
		}
		if !isObject(models[i].Raw) {
			return brokenPromise("list models: raw of %q is no JSON object", models[i].Name)
		}
	}
	return nil
}

// Running implements [core.Backend].
func (c *BackendClient) Running(ctx context.Context) ([]core.Resident, error) {
	resp, err := c.rpc.Running(ctx, &pluginpb.RunningRequest{})
	if err != nil {
		return nil, errorFromWire(ctx, "list resident models", err)
	}
	residents := make([]core.Resident, len(resp.GetModels()))
	for i, m := range resp.GetModels() {
		r := core.Resident{
			Name: m.GetName(), Digest: m.GetDigest(), Size: m.GetSize(), SizeVRAM: m.GetSizeVram(),
			ContextLength: m.GetContextLength(), ExpiresAt: moment(m.GetExpiresAt()), Raw: m.GetRaw(),
		}
		if len(r.Raw) == 0 {
			r.Raw = residentJSON(r)
		}
		if !isObject(r.Raw) {
			return nil, brokenPromise("list resident models: raw of %q is no JSON object", r.Name)
		}
		residents[i] = r
	}
	return residents, nil
}

// brokenPromise blames the plugin for an answer that the contract rules out.
func brokenPromise(format string, args ...any) error {
	return &core.Fault{Reason: core.ReasonPlugin, Detail: fmt.Sprintf(format, args...)}
}

// isObject reports whether raw may go into a reply as it is.
func isObject(raw []byte) bool {
	return len(raw) > 1 && raw[0] == '{' && json.Valid(raw) && utf8.Valid(raw)
}

// modelJSON is m as Ollama's /api/tags would show it, for a backend whose
// target speaks another language.
func modelJSON(m core.Model) json.RawMessage {
	return mustJSON(map[string]any{
		"name": m.Name, "model": m.Name, "modified_at": m.ModifiedAt, "size": m.Size, "digest": m.Digest,
		"details": map[string]string{
			"family": m.Family, "parameter_size": m.ParameterSize, "quantization_level": m.Quantization,
		},
	})
}

// residentJSON is the same for /api/ps.
func residentJSON(r core.Resident) json.RawMessage {
	return mustJSON(map[string]any{
		"name": r.Name, "model": r.Name, "size": r.Size, "digest": r.Digest, "details": map[string]string{},
		"expires_at": r.ExpiresAt, "size_vram": r.SizeVRAM, "context_length": r.ContextLength,
	})
}

func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // only strings, numbers and times within RFC 3339, see moment
	}
	return raw
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// moment is ts as a time of the years 1 to 9999, or none. Later ones mean
// "never", as the largest integer does for some.
func moment(ts *timestamppb.Timestamp) time.Time {
	switch {
	case ts == nil:
		return time.Time{}
	case ts.GetSeconds() > core.EndOfTime.Unix():
		return core.EndOfTime
	case ts.CheckValid() != nil:
		return time.Time{}
	default:
		return ts.AsTime()
	}
}
