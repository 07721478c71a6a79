package plugin

import (
	"context"
	"errors"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin/pluginpb"
)

// full fails if a field of v is empty, and so wouldn't be missed.
func full(t *testing.T, v any) {
	t.Helper()
	value := reflect.ValueOf(v)
	for i := range value.NumField() {
		if value.Field(i).IsZero() {
			t.Errorf("the test lacks a %T with %s", v, value.Type().Field(i).Name)
		}
	}
}

func TestSettingsAndUpstreamCross(t *testing.T) {
	settings := core.Settings{URL: "http://target", Token: "t", Extra: []byte(`{"a":1}`)}
	upstream := core.Upstream{URL: "http://upstream", Header: http.Header{"A": {"1", "2"}, "B": {"3"}}, V1Only: true}
	full(t, settings)
	full(t, upstream)
	for _, want := range []struct {
		settings core.Settings
		upstream core.Upstream
	}{{settings, upstream}, {core.Settings{}, core.Upstream{Header: http.Header{}}}} {
		var got core.Settings
		c := connect(t, stub{configure: func(s core.Settings) (core.Upstream, error) {
			got = s
			return want.upstream, nil
		}})
		up, err := c.Configure(t.Context(), want.settings)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.settings, got); diff != "" {
			t.Errorf("settings (-sent +got):\n%s", diff)
		}
		if diff := cmp.Diff(want.upstream, up); diff != "" {
			t.Errorf("upstream (-sent +got):\n%s", diff)
		}
	}
}

func TestModelsCrossWhole(t *testing.T) {
	model := core.Model{
		Name: "me/x:1b", Digest: "abc", Size: math.MaxInt64, ModifiedAt: time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600)),
		Family: "llama", ParameterSize: "1B", Quantization: "Q4_0", Raw: []byte(`{"name":"me/x:1b","new":[1, 2.50]}`),
	}
	full(t, model)
	want := core.ModelList{Fingerprint: "f", Models: []core.Model{model, {Name: "y", Raw: []byte(`{}`)}}}
	c := connect(t, stub{models: func(_ context.Context, known string) (core.ModelList, error) {
		if known == want.Fingerprint {
			return core.ModelList{Fingerprint: known, Unchanged: true}, nil
		}
		return want, nil
	}})
	got, err := c.Models(t.Context(), "other")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-sent +got):\n%s", err, diff)
	}
	got, err = c.Models(t.Context(), "f")
	if diff := cmp.Diff(core.ModelList{Fingerprint: "f", Unchanged: true}, got); diff != "" || err != nil {
		t.Errorf("asked again: %v (-sent +got):\n%s", err, diff)
	}
}

func TestResidentsCrossWhole(t *testing.T) {
	resident := core.Resident{
		Name: "x:latest", Digest: "abc", Size: 5, SizeVRAM: 3, ContextLength: 4096,
		ExpiresAt: time.Date(2318, 1, 1, 0, 0, 0, 0, time.UTC), Raw: []byte(`{"name":"x:latest"}`),
	}
	full(t, resident)
	want := []core.Resident{resident, {Name: "x:latest", Raw: []byte(`{}`)}}
	c := connect(t, stub{running: func(context.Context) ([]core.Resident, error) { return want, nil }})
	got, err := c.Running(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-sent +got):\n%s", err, diff)
	}
}

func TestListsThatAreEmpty(t *testing.T) {
	c := connectRaw(t, replies{models: &pluginpb.ModelsResponse{}, running: &pluginpb.RunningResponse{}})
	list, err := c.Models(t.Context(), "")
	if diff := cmp.Diff(core.ModelList{Models: []core.Model{}}, list); diff != "" || err != nil {
		t.Errorf("models: %v (-want +got):\n%s", err, diff)
	}
	residents, err := c.Running(t.Context())
	if diff := cmp.Diff([]core.Resident{}, residents); diff != "" || err != nil {
		t.Errorf("residents: %v (-want +got):\n%s", err, diff)
	}
}

// A backend whose target speaks no Ollama may leave raw out.
func TestMissingRawIsMadeOfTheFields(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	c := connectRaw(t, replies{
		models: &pluginpb.ModelsResponse{Models: []*pluginpb.Model{{
			Name: "x:1b", Digest: "abc", Size: 5, ModifiedAt: at, Family: "llama", ParameterSize: "1B", Quantization: "Q4_0",
		}}},
		running: &pluginpb.RunningResponse{Models: []*pluginpb.Resident{{
			Name: "x:1b", Digest: "abc", Size: 5, SizeVram: 3, ContextLength: 4096, ExpiresAt: at,
		}}},
	})
	list, err := c.Models(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	residents, err := c.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const model = `{"details":{"family":"llama","parameter_size":"1B","quantization_level":"Q4_0"},` +
		`"digest":"abc","model":"x:1b","modified_at":"2026-01-02T03:04:05Z","name":"x:1b","size":5}`
	const resident = `{"context_length":4096,"details":{},"digest":"abc","expires_at":"2026-01-02T03:04:05Z",` +
		`"model":"x:1b","name":"x:1b","size":5,"size_vram":3}`
	if diff := cmp.Diff([]string{model, resident}, []string{string(list.Models[0].Raw), string(residents[0].Raw)}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRawThatWouldSpoilAReplyIsBlamedOnThePlugin(t *testing.T) {
	for _, raw := range []string{`x`, `[]`, `"x"`, `null`, `{`, `{}}`, `{} {}`, `{"a":1,}`, "{\"a\":\"\xff\"}"} {
		c := connectRaw(t, replies{
			models:  &pluginpb.ModelsResponse{Models: []*pluginpb.Model{{Name: "good", Raw: []byte(`{}`)}, {Name: "bad", Raw: []byte(raw)}}},
			running: &pluginpb.RunningResponse{Models: []*pluginpb.Resident{{Name: "bad", Raw: []byte(raw)}}},
		})
		_, models := c.Models(t.Context(), "")
		_, running := c.Running(t.Context())
		for _, err := range []error{models, running} {
			var fault *core.Fault
			if !errors.As(err, &fault) || fault.Reason != core.ReasonPlugin || !strings.Contains(fault.Detail, `"bad"`) {
				t.Errorf("%q: got %v, want a fault of the plugin that names the model", raw, err)
			}
		}
	}
}

func TestUnchangedMustMeanTheListThatForemanHolds(t *testing.T) {
	for _, c := range []struct{ known, says string }{{"a", "b"}, {"a", ""}, {"", ""}, {"", "a"}} {
		client := connectRaw(t, replies{models: &pluginpb.ModelsResponse{Unchanged: true, Fingerprint: c.says}})
		_, err := client.Models(t.Context(), c.known)
		var fault *core.Fault
		if !errors.As(err, &fault) || fault.Reason != core.ReasonPlugin {
			t.Errorf("asked about %q, it says %q is unchanged: got %v, want a fault of the plugin", c.known, c.says, err)
		}
	}
}

func TestTimesThatAreNone(t *testing.T) {
	never := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, c := range []struct {
		at   *timestamppb.Timestamp
		want time.Time
	}{
		{nil, time.Time{}},
		{&timestamppb.Timestamp{}, time.Unix(0, 0)},
		{&timestamppb.Timestamp{Seconds: math.MaxInt64}, never},
		{&timestamppb.Timestamp{Seconds: never.Unix() + 1, Nanos: -1}, never},
		{&timestamppb.Timestamp{Seconds: math.MinInt64}, time.Time{}},
		{&timestamppb.Timestamp{Nanos: -1}, time.Time{}},
		{&timestamppb.Timestamp{Nanos: 1e9}, time.Time{}},
	} {
		client := connectRaw(t, replies{
			models:  &pluginpb.ModelsResponse{Models: []*pluginpb.Model{{Name: "x", ModifiedAt: c.at}}},
			running: &pluginpb.RunningResponse{Models: []*pluginpb.Resident{{Name: "x", ExpiresAt: c.at}}},
		})
		list, err := client.Models(t.Context(), "")
		if err != nil || !list.Models[0].ModifiedAt.Equal(c.want) {
			t.Errorf("modified at %v: got %v, %v, want %v", c.at, list.Models, err, c.want)
		}
		residents, err := client.Running(t.Context())
		if err != nil || !residents[0].ExpiresAt.Equal(c.want) {
			t.Errorf("expires at %v: got %v, %v, want %v", c.at, residents, err, c.want)
		}
		if err == nil && residents[0].Pinned(time.Now()) != c.want.Equal(never) {
			t.Errorf("expires at %v: pinned is %v", c.at, residents[0].Pinned(time.Now()))
		}
	}
}
