// Package plugin is what a plugin author imports, and the wire between a
// plugin and foreman: HashiCorp's go-plugin over gRPC, the contract in
// pluginpb/foreman.proto.
//
// An author implements [core.Backend] or [core.Notifier] and calls one
// function:
//
//	func main() { plugin.ServeNotifier(mine.New()) }
//
// foreman's side of the wire, [BackendClient] and [NotifierClient], is here
// too, so that both halves of each conversion stand together. Starting and watching the
// process is the business of core/plugin/host.
package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// Version of the contract in foreman.proto.
const Version = 1

// Kinds of plugins.
const (
	KindBackend  = "backend"
	KindNotifier = "notifier"
)

// Sets are the plugins that foreman can speak to, by version of the contract.
func Sets() map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{Version: {KindBackend: backendPlugin{}, KindNotifier: notifierPlugin{}}}
}

// Handshake tells a plugin that foreman started it. It is no secret.
var Handshake = goplugin.HandshakeConfig{
	MagicCookieKey:   "FOREMAN_PLUGIN",
	MagicCookieValue: "f0e5bd62",
}

// EnvLifeline names the variable that holds the number of a file descriptor,
// a pipe's read end, that ends when foreman does, however it ends.
const EnvLifeline = "FOREMAN_LIFELINE_FD"

// Env is the part of this process's environment that a plugin may see: foreman
// itself may hold secrets.
func Env() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// maxMessage is how much a plugin takes in one call; what it sends is
// bounded by its own reading of the target.
const maxMessage = 64 << 20

// ServeBackend serves b until foreman stops this process or ends itself.
// Started by hand it says so on stderr and exits with 1. It doesn't return.
func ServeBackend(b core.Backend) {
	serve(goplugin.PluginSet{KindBackend: backendPlugin{backend: b}})
}

// ServeNotifier is [ServeBackend] for a notifier.
func ServeNotifier(n core.Notifier) {
	serve(goplugin.PluginSet{KindNotifier: notifierPlugin{notifier: n}})
}

func serve(set goplugin.PluginSet) {
	// A terminal's Ctrl-C reaches the whole foreground group, and foreman
	// stops its plugins itself, in order.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		followLifeline()
		os.Exit(0)
	}()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  Handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{Version: set},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
		GRPCServer:       newServer,
	})
	os.Exit(0)
}

func newServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ChainUnaryInterceptor(recoverPanic, reserveForReply))...)
}

// followLifeline returns when foreman is gone, having removed the socket that
// nobody else will. Without a lifeline it blocks for ever.
func followLifeline() {
	fd, err := strconv.Atoi(os.Getenv(EnvLifeline))
	if err != nil || fd < 3 {
		select {}
	}
	lifeline := os.NewFile(uintptr(fd), "lifeline")
	_, _ = io.Copy(io.Discard, lifeline)
	if dir := os.Getenv(goplugin.EnvUnixSocketDir); dir != "" {
		sockets, _ := filepath.Glob(filepath.Join(dir, "plugin*"))
		for _, s := range sockets {
			_ = os.Remove(s)
		}
		_ = os.Remove(dir) // only if nothing else is in it
	}
}

// recoverPanic turns a handler's panic into an error of this one call.
func recoverPanic(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "panic in %s: %v\n%s", info.FullMethod, p, debug.Stack())
			err = status.Errorf(codes.Internal, "panic in %s: %v", info.FullMethod, p)
		}
	}()
	return next(ctx, req)
}

// reserveForReply ends a handler's context a little before the call's own
// deadline, so that "the target didn't answer in time" still reaches foreman
// and isn't mistaken for "the plugin didn't".
func reserveForReply(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return next(ctx, req)
	}
	reserve := min(time.Until(deadline)/10, 250*time.Millisecond)
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-reserve))
	defer cancel()
	return next(ctx, req)
}

// ownVersion is the version of the module that this plugin's main package
// stands in, or "" of one that was built in its own tree.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}

// refusal is an error of Configure, under ctx, as a gRPC status.
func refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Error(codes.InvalidArgument, valid(err.Error()))
}

// refused is what the plugin's Configure says of the settings, or nil if err
// is of another sort.
func refused(kind string, err error) error {
	switch st := status.Convert(err); st.Code() {
	case codes.InvalidArgument:
		return errors.New(st.Message())
	case codes.Unimplemented:
		return fmt.Errorf("it is no %s: %s", kind, st.Message())
	default:
		return nil
	}
}

// valid is text without what protobuf refuses.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// errorToWire is an error of a plugin's method as a gRPC status.
func errorToWire(err error) error {
	fault := core.FaultOf(err)
	reason := string(fault.Reason)
	if errors.Is(err, context.DeadlineExceeded) && fault.Reason == core.ReasonUnknown {
		reason = string(core.ReasonTimeout)
	}
	// A detail may quote the target, and protobuf refuses what is no UTF-8.
	detail := valid(fault.Detail)
	st, detailErr := status.New(codes.Unavailable, detail).
		WithDetails(&pluginpb.Fault{Reason: valid(reason), Detail: detail})
	if detailErr != nil {
		return status.Error(codes.Internal, detailErr.Error())
	}
	return st.Err()
}

// errorFromWire is the error of a call to the plugin under ctx: the
// [*core.Fault] that the plugin told, or one that blames the plugin. A
// caller's own cancellation stays a [context.Canceled].
func errorFromWire(ctx context.Context, call string, err error) error {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if f, ok := d.(*pluginpb.Fault); ok {
			return &core.Fault{
				Reason: cmp.Or(core.Reason(f.GetReason()), core.ReasonUnknown),
				Detail: cmp.Or(f.GetDetail(), st.Message(), call+" failed"),
			}
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", call, context.Canceled)
	case st.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("%s: %w", call, core.ErrNoAnswer)
	default: // also Canceled, if the connection was closed under the call
		return &core.Fault{Reason: core.ReasonPlugin, Detail: call + ": " + st.Message()}
	}
}
