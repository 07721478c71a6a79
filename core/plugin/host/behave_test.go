package host_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/host"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// behaviours are the ways in which a plugin process acts, most of them badly.
// Each gets the connection to the witness, which ends with the test.
var behaviours = map[string]func(witness net.Conn){
	"good":     func(net.Conn) { plugin.ServeBackend(&fake{stdout: os.Stdout, stderr: os.Stderr}) },
	"notifier": func(net.Conn) { plugin.ServeNotifier(&fakeNotifier{}) },
	"foreign":  foreign,
	"host":     runHost,
	"hold":     untilOver,
	"stubborn": stubborn,

	// No handshake.
	"silent": untilOver,
	"crash":  crash,
	"junk":   says("Hello, world!"),
	"verbose": func(net.Conn) {
		fmt.Fprintln(os.Stderr, "it began with", strings.Repeat("ä", 2000))
		os.Exit(3)
	},
	"endless line": func(over net.Conn) {
		fmt.Print(strings.Repeat("x", 100<<10))
		untilOver(over)
	},
	"other cookie": otherCookie,

	// A handshake that leads nowhere.
	"next version": says("1|2|unix|/nowhere|grpc"),
	"next core":    says("2|1|unix|/nowhere|grpc"),
	"net/rpc":      says("1|1|unix|/nowhere|netrpc"),
	"tcp":          says("1|1|tcp|127.0.0.1:1|grpc"),
	"no socket":    says("1|1|unix|/nowhere|grpc"),
	"certificate":  func(over net.Conn) { says("1|1|unix|/nowhere|grpc|" + certificate())(over) },
	"deaf":         deaf,

	// What go-plugin on foreman's side has trouble with.
	"poison": func(net.Conn) {
		fmt.Fprintln(os.Stderr, `{"@message":5}`)
		plugin.ServeBackend(&fake{})
	},
	"parent":         func(net.Conn) { parent(&syscall.SysProcAttr{}) },
	"escaped parent": func(net.Conn) { parent(&syscall.SysProcAttr{Setsid: true}) },
}

func behave(name, path string) {
	behaviours[name](testify(name, path))
}

// untilOver returns when the test is over.
func untilOver(witness net.Conn) { _, _ = io.Copy(io.Discard, witness) }

func says(line string) func(net.Conn) {
	return func(over net.Conn) {
		fmt.Println(line)
		untilOver(over)
	}
}

func crash(net.Conn) {
	for i := range 8 {
		fmt.Fprintln(os.Stderr, "line", i)
	}
	fmt.Fprint(os.Stderr, "the disk is\r\x1b[31m on fire")
	os.Exit(3)
}

func otherCookie(net.Conn) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{MagicCookieKey: "FOREMAN_PLUGIN", MagicCookieValue: "another"},
		Logger:          hclog.NewNullLogger(),
	})
}

// certificate is one in the form that go-plugin's handshake has.
func certificate() string {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(der)
}

func listen() net.Listener {
	listener, err := net.Listen("unix", filepath.Join(os.Getenv(goplugin.EnvUnixSocketDir), "s"))
	if err != nil {
		panic(err)
	}
	return listener
}

// deaf is one that takes foreman's connection and says nothing. It tells the
// witness a second time then.
func deaf(over net.Conn) {
	listener := listen()
	fmt.Println("1|1|unix|" + listener.Addr().String() + "|grpc")
	if _, err := listener.Accept(); err != nil {
		panic(err)
	}
	testify("deaf", os.Args[3])
	untilOver(over)
}

// foreign is a plugin that knows no go-plugin, only foreman.proto.
func foreign(net.Conn) {
	listener := serveForeign()
	lifeline := os.NewFile(3, "lifeline")
	_, _ = io.Copy(io.Discard, lifeline)
	listener.Close()
}

// stubborn never ends by itself while the test goes on.
func stubborn(over net.Conn) {
	serveForeign()
	untilOver(over)
}

func serveForeign() net.Listener {
	server := grpc.NewServer()
	pluginpb.RegisterBackendServer(server, foreignBackend{})
	status := health.NewServer()
	status.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, status)
	listener := listen()
	go server.Serve(listener)
	fmt.Println("1|1|unix|" + listener.Addr().String() + "|grpc")
	return listener
}

type foreignBackend struct {
	pluginpb.UnimplementedBackendServer
}

func (foreignBackend) Configure(context.Context, *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	return &pluginpb.ConfigureResponse{Url: "http://upstream"}, nil
}

func (foreignBackend) Probe(context.Context, *pluginpb.ProbeRequest) (*pluginpb.ProbeResponse, error) {
	return &pluginpb.ProbeResponse{Version: "1.2.3"}, nil
}

// parent leaves a child behind that holds its outputs.
func parent(attr *syscall.SysProcAttr) {
	child := exec.Command(os.Args[0], "behave", "hold", os.Args[3])
	child.Stdout, child.Stderr, child.SysProcAttr = os.Stdout, os.Stderr, attr
	if err := child.Start(); err != nil {
		panic(err)
	}
	plugin.ServeBackend(&fake{})
}

// runHost is foreman with a slot, which the test will kill. It tells the
// witness a second time once its plugin runs.
func runHost(net.Conn) {
	slot := host.NewBackend(spec("good", os.Args[3]), core.Settings{}, nil, slog.New(slog.DiscardHandler))
	go func() {
		<-slot.Up()
		testify("up", os.Args[3])
	}()
	_ = slot.Run(context.Background())
}

// spec goes by way of env(1), which becomes the plugin: with the race detector
// a process sleeps for a second as it exits, unless it is told not to.
func spec(behaviour, witness string) host.Spec {
	return host.Spec{Kind: plugin.KindBackend, Name: "fake", Path: "/usr/bin/env", Args: []string{
		"GORACE=atexit_sleep_ms=0", os.Args[0], "behave", behaviour, witness,
	}}
}

// A fake is a backend that does what its URL says.
type fake struct {
	stdout, stderr *os.File // as they were before go-plugin took them
	task           string
	version        string // that Probe returns
}

func (f *fake) Configure(ctx context.Context, settings core.Settings) (core.Upstream, error) {
	f.task, f.version = settings.URL, "1.2.3"
	if version, ok := strings.CutPrefix(f.task, "version "); ok {
		f.version = version
	}
	switch f.task {
	case "refuse":
		return core.Upstream{}, fmt.Errorf("url: want http:// in front")
	case "hang":
		<-ctx.Done()
		return core.Upstream{}, ctx.Err()
	}
	return core.Upstream{URL: "http://upstream"}, nil
}

func (f *fake) Probe(context.Context) (string, error) {
	switch f.task {
	case "environment":
		return strings.Join(os.Environ(), "\n"), nil
	case "stdin":
		in, err := io.ReadAll(os.Stdin)
		return string(in), err
	case "long line":
		for range 20 {
			fmt.Fprintln(f.stdout, strings.Repeat("x", 65<<10))
		}
	case "flood":
		for i := range 20_000 {
			fmt.Fprintln(f.stderr, "this is line", i, "of very many")
		}
	case "long words":
		fmt.Fprintln(f.stderr, strings.Repeat("so ", 1300)+"it ends here")
		fmt.Fprintln(f.stderr, strings.Repeat("and ", 2000)+"on")
	case "late words":
		fmt.Fprintln(os.Stderr, "said on os.Stderr")
		fmt.Fprintln(f.stderr, "said on the first stderr")
		fmt.Println("said on os.Stdout")
	case "wait":
		untilOver(testify("call", os.Args[3]))
	}
	return f.version, nil
}

// Models is slow to hear that it should stop.
func (f *fake) Models(ctx context.Context, known string) (core.ModelList, error) {
	switch f.task {
	case "busy":
		<-ctx.Done()
		time.Sleep(time.Second)
	case "big":
		models := make([]core.Model, 30)
		for i := range models {
			raw := fmt.Sprintf(`{"name":"m%d","padding":%q}`, i, strings.Repeat("x", 1<<20))
			models[i] = core.Model{Name: fmt.Sprint("m", i), Raw: []byte(raw)}
		}
		return core.ModelList{Models: models}, nil
	}
	return core.ModelList{Models: []core.Model{{Name: "tiny:latest"}}}, nil
}

func (f *fake) Running(context.Context) ([]core.Resident, error) {
	return nil, &core.Fault{Reason: core.ReasonRefused, Detail: "the target is asleep"}
}
