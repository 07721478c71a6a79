package plugin

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// probeFault is the fault that foreman sees where the backend returned err.
func probeFault(t *testing.T, err error) core.Fault {
	t.Helper()
	c := connect(t, stub{probe: func(context.Context) (string, error) { return "", err }})
	_, got := c.Probe(t.Context())
	var fault *core.Fault
	if !errors.As(got, &fault) {
		t.Fatalf("got %v, want a fault", got)
	}
	return *fault
}

func TestFaultsKeepTheirIdentity(t *testing.T) {
	refused := &core.Fault{Reason: core.ReasonRefused, Detail: "GET /api/tags: refused"}
	for _, c := range []struct {
		err  error
		want core.Fault
	}{
		{refused, *refused},
		{fmt.Errorf("wrapped: %w", refused), *refused},
		{&core.Fault{Reason: core.StatusReason(502), Detail: "ünïcode\ttab"}, core.Fault{Reason: "status_502", Detail: "ünïcode\ttab"}},
		{&core.Fault{Reason: core.ReasonNotJSON, Detail: "got \xff\x00"}, core.Fault{Reason: core.ReasonNotJSON, Detail: "got \uFFFD\x00"}},
		{errors.New("what now"), core.Fault{Reason: core.ReasonUnknown, Detail: "what now"}},
		{context.DeadlineExceeded, core.Fault{Reason: core.ReasonTimeout, Detail: "context deadline exceeded"}},
		{&core.Fault{Reason: core.ReasonDNS}, core.Fault{Reason: core.ReasonDNS, Detail: "probe failed"}},
		{&core.Fault{Detail: "no reason"}, core.Fault{Reason: core.ReasonUnknown, Detail: "no reason"}},
	} {
		if diff := cmp.Diff(c.want, probeFault(t, c.err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.err, diff)
		}
	}
}

func TestEveryMethodTellsItsFault(t *testing.T) {
	want := core.Fault{Reason: core.ReasonTLS, Detail: "the certificate expired"}
	c := connect(t, stub{
		probe:   func(context.Context) (string, error) { return "", &want },
		models:  func(context.Context, string) (core.ModelList, error) { return core.ModelList{}, &want },
		running: func(context.Context) ([]core.Resident, error) { return nil, &want },
	})
	_, probe := c.Probe(t.Context())
	_, models := c.Models(t.Context(), "")
	_, running := c.Running(t.Context())
	for _, err := range []error{probe, models, running} {
		if diff := cmp.Diff(want, *core.FaultOf(err)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestBadSettingsAreThePluginsOwnSentence(t *testing.T) {
	c := connect(t, stub{configure: func(core.Settings) (core.Upstream, error) {
		return core.Upstream{}, errors.New("url: want http:// in front")
	}})
	_, err := c.Configure(t.Context(), core.Settings{})
	var fault *core.Fault
	if err == nil || err.Error() != "url: want http:// in front" || errors.As(err, &fault) {
		t.Errorf("got %#v", err)
	}
}

func TestOtherStatusIsThePluginsOwnFault(t *testing.T) {
	for _, code := range []codes.Code{codes.Unimplemented, codes.Internal, codes.Canceled, codes.InvalidArgument} {
		c := connectRaw(t, replies{err: status.Error(code, "oh no")})
		_, err := c.Models(t.Context(), "")
		want := core.Fault{Reason: core.ReasonPlugin, Detail: "list models: oh no"}
		if diff := cmp.Diff(want, *core.FaultOf(err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", code, diff)
		}
	}
}

func TestPanicEndsOneCallOnly(t *testing.T) {
	c := connect(t, stub{
		models: func(context.Context, string) (core.ModelList, error) { panic("index out of range") },
		probe:  func(context.Context) (string, error) { return "1.2.3", nil },
	})
	_, err := c.Models(t.Context(), "")
	want := core.Fault{Reason: core.ReasonPlugin, Detail: "list models: panic in /foreman.plugin.v1.Backend/Models: index out of range"}
	if diff := cmp.Diff(want, *core.FaultOf(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if version, err := c.Probe(t.Context()); version != "1.2.3" || err != nil {
		t.Errorf("the next call: %q, %v", version, err)
	}
}

func TestCallersCancellationReachesBothSides(t *testing.T) {
	entered, left := make(chan struct{}), make(chan error, 1)
	c := connect(t, stub{probe: func(ctx context.Context) (string, error) {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return "", ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if _, err := c.Probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancellation", err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the backend saw %v", err)
	}
}

// A slot closes the connection of a process that it gives up. Its callers
// didn't cancel anything.
func TestClosedConnectionIsNoCancellation(t *testing.T) {
	entered, over := make(chan struct{}), make(chan struct{})
	conn := dial(t, &backendServer{backend: stub{probe: func(ctx context.Context) (string, error) {
		close(entered)
		<-ctx.Done()
		close(over)
		return "", ctx.Err()
	}}})
	go func() {
		<-entered
		conn.Close()
	}()
	c := NewBackendClient(conn)
	_, during := c.Probe(t.Context())
	_, after := c.Probe(t.Context())
	for _, err := range []error{during, after} {
		if errors.Is(err, context.Canceled) || core.FaultOf(err).Reason != core.ReasonPlugin {
			t.Errorf("got %v, want a fault of the plugin", err)
		}
	}
	<-over
}

func TestSilentPluginIsNotMistakenForASilentTarget(t *testing.T) {
	for _, timeout := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			c := connect(t, stub{
				// The target is silent, and the backend gives up on it.
				probe: func(ctx context.Context) (string, error) {
					<-ctx.Done()
					return "", &core.Fault{Reason: core.ReasonTimeout, Detail: "the target is silent"}
				},
				// The backend itself hangs.
				models: func(ctx context.Context, known string) (core.ModelList, error) {
					<-release
					return core.ModelList{}, nil
				},
			})
			call := func(f func(context.Context) error) (time.Duration, error) {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				began := time.Now()
				err := f(ctx)
				return time.Since(began), err
			}
			took, err := call(func(ctx context.Context) error { _, err := c.Probe(ctx); return err })
			want := core.Fault{Reason: core.ReasonTimeout, Detail: "the target is silent"}
			if diff := cmp.Diff(want, *core.FaultOf(err)); diff != "" {
				t.Errorf("within %v (-want +got):\n%s", timeout, diff)
			}
			if took < timeout*8/10 || timeout-took > 300*time.Millisecond {
				t.Errorf("the backend had %v of %v", took, timeout)
			}
			took, err = call(func(ctx context.Context) error { _, err := c.Models(ctx, ""); return err })
			if !errors.Is(err, core.ErrNoAnswer) || took != timeout {
				t.Errorf("got %v after %v, want no answer after %v", err, took, timeout)
			}
			close(release)
		})
	}
}

func TestFaultWithoutADetailIsStillOne(t *testing.T) {
	st, err := status.New(codes.Unavailable, "said here").WithDetails(&pluginpb.Fault{})
	if err != nil {
		t.Fatal(err)
	}
	_, got := connectRaw(t, replies{err: st.Err()}).Models(t.Context(), "")
	if diff := cmp.Diff(core.Fault{Reason: core.ReasonUnknown, Detail: "said here"}, *core.FaultOf(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
