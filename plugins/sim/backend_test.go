package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

func configure(t *testing.T, b *sim.Backend, settings core.Settings) core.Upstream {
	t.Helper()
	up, err := b.Configure(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return up
}

// rawModels is the entries of a list as they were sent.
func rawModels(t *testing.T, url string) []string {
	t.Helper()
	_, body := do(t, "GET", url, "")
	var all []string
	for _, raw := range decodeJSON[struct{ Models []json.RawMessage }](t, body).Models {
		all = append(all, string(raw))
	}
	return all
}

func TestBackendSaysWhatItsServerSends(t *testing.T) {
	b := sim.NewBackend()
	up := configure(t, b, core.Settings{})
	b.Server().Install(sim.Model{Name: "x", Extra: map[string]any{"new": true}})
	b.Server().Pin("x")
	b.Server().Load("llama3.2")

	list, err := b.Models(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list.Models {
		got = append(got, string(m.Raw))
	}
	if diff := cmp.Diff(rawModels(t, up.URL+"/api/tags"), got); diff != "" {
		t.Errorf("models (-sent +got):\n%s", diff)
	}
	residents, err := b.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, r := range residents {
		got = append(got, string(r.Raw))
	}
	if diff := cmp.Diff(rawModels(t, up.URL+"/api/ps"), got); diff != "" {
		t.Errorf("residents (-sent +got):\n%s", diff)
	}
	if version, err := b.Probe(t.Context()); err != nil || version != "0.17.4" {
		t.Errorf("Probe: %q, %v", version, err)
	}
}

func TestBackendFillsInWhatTheJSONSays(t *testing.T) {
	b := sim.NewBackend()
	configure(t, b, core.Settings{})
	s := b.Server()
	s.SetModels([]sim.Model{{Name: "me/x", Size: 25, Family: "qwen3", ParameterSize: "1B", Quantization: "F16", Context: 100}})
	s.Pin("me/x")
	list, err := b.Models(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	residents, err := b.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	m, r := list.Models[0], residents[0]
	wantModel := core.Model{
		Name: "me/x:latest", Digest: m.Digest, Size: 25, ModifiedAt: m.ModifiedAt,
		Family: "qwen3", ParameterSize: "1B", Quantization: "F16", Raw: m.Raw,
	}
	wantResident := core.Resident{
		Name: "me/x:latest", Digest: m.Digest, Size: 25, SizeVRAM: 25, ContextLength: 100,
		ExpiresAt: r.ExpiresAt, Raw: r.Raw,
	}
	if diff := cmp.Diff([]core.Model{wantModel}, list.Models); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]core.Resident{wantResident}, residents); diff != "" {
		t.Errorf("residents (-want +got):\n%s", diff)
	}
	if !r.Pinned(time.Now()) {
		t.Errorf("expires at %v, which isn't pinned", r.ExpiresAt)
	}
	sent := decodeJSON[struct {
		ModifiedAt time.Time `json:"modified_at"`
		Digest     string
	}](t, string(m.Raw))
	if !sent.ModifiedAt.Equal(m.ModifiedAt) || sent.Digest != m.Digest {
		t.Errorf("the JSON says %+v, the model %v %s", sent, m.ModifiedAt, m.Digest)
	}
}

func TestBackendKnowsAnUnchangedList(t *testing.T) {
	b := sim.NewBackend()
	configure(t, b, core.Settings{})
	first, err := b.Models(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	b.Server().Shuffle(true)
	again, err := b.Models(t.Context(), first.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(core.ModelList{Fingerprint: first.Fingerprint, Unchanged: true}, again); diff != "" {
		t.Errorf("nothing changed (-want +got):\n%s", diff)
	}
	b.Server().Remove("llama3.2")
	changed, err := b.Models(t.Context(), first.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if changed.Unchanged || changed.Fingerprint == first.Fingerprint || len(changed.Models) != len(first.Models)-1 {
		t.Errorf("a model was removed: unchanged %v, %d models", changed.Unchanged, len(changed.Models))
	}
	another := sim.NewBackend()
	configure(t, another, core.Settings{})
	if other, err := another.Models(t.Context(), first.Fingerprint); err != nil || other.Unchanged {
		t.Errorf("another server's list is unchanged: %v, %v", other.Unchanged, err)
	}
}

func TestBackendThatDoesNotRunIsRefused(t *testing.T) {
	b := sim.NewBackend()
	check := func(step string) {
		t.Helper()
		var fault *core.Fault
		if _, err := b.Models(t.Context(), ""); !errors.As(err, &fault) || fault.Reason != core.ReasonRefused {
			t.Errorf("%s: %v, want a fault, refused", step, err)
		}
	}
	check("before Configure")
	configure(t, b, core.Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Running(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("asked by somebody who has left: %v", err)
	}
	b.Close()
	check("closed")
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ url, extra, want string }{
		{"http://192.0.2.1:80", "", "loopback"},
		{"http://example.com:80", "", "loopback"},
		{"http://127.0.0.1", "", "http://127.0.0.1:PORT"},
		{"https://127.0.0.1:1", "", "http://127.0.0.1:PORT"},
		{"http://127.0.0.1:1/api", "", "http://127.0.0.1:PORT"},
		{"127.0.0.1:1", "", "127.0.0.1"},
		{"", `{"models":[]}`, "no settings"},
	} {
		b := sim.NewBackend()
		_, err := b.Configure(t.Context(), core.Settings{URL: c.url, Extra: json.RawMessage(c.extra)})
		b.Close()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("url %q, extra %s: %v, want something about %q", c.url, c.extra, err, c.want)
		}
	}
}
