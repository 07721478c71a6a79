package core_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-af7fee88/foreman/core"
)

// TestStatus reads as a story: each letter is a look, and its effect the
// status after it. p: a good poll; f: a failed one; v: a good probe.
func TestStatus(t *testing.T) {
	letter := map[core.Status]string{core.Starting: "S", core.Healthy: "H", core.Degraded: "D"}
	for _, tt := range []struct {
		fall, rise     int
		looks, becomes string
	}{
		{3, 2, "p", "H"},
		{3, 2, "fp", "SH"},
		{3, 2, "ffp", "SSH"},
		{3, 2, "fffvp", "SSDDH"},
		{3, 2, "pffpffpff", "HHHHHHHHH"},
		{3, 2, "pfffvpp", "HHHDDHH"},
		{3, 2, "pfffpp", "HHHDDH"},
		{3, 2, "pfffvfvp", "HHHDDDDH"},
		{3, 2, "pfffvfpfp", "HHHDDDDDD"},
		{3, 3, "pfffvppp", "HHHDDDHH"},
		{3, 1, "pfffvp", "HHHDDH"},
		{1, 1, "pfp", "HDH"},
		{1, 2, "fp", "DD"},
	} {
		s := &core.Snapshot{Status: core.Starting}
		var became strings.Builder
		for _, l := range tt.looks {
			look := core.Look{ProbeOnly: l == 'v'}
			if l == 'f' {
				look.Fault = &core.Fault{Reason: core.ReasonRefused}
			}
			s = s.After(look, core.Thresholds{Fall: tt.fall, Rise: tt.rise})
			became.WriteString(letter[s.Status])
		}
		if became.String() != tt.becomes {
			t.Errorf("fall %d, rise %d: %s became %s, want %s", tt.fall, tt.rise, tt.looks, &became, tt.becomes)
		}
	}
}

func TestFailedLookKeepsWhatIsBelieved(t *testing.T) {
	limits := core.Thresholds{Fall: 1, Rise: 1}
	good := core.Look{
		Poll: core.Poll{At: noon}, Version: "0.17.4",
		Inventory: core.NewInventory([]core.Model{model("a:latest", 0)}, "f"), Residency: core.NewResidency(nil),
	}
	before := new(core.Snapshot).After(good, limits)
	after := before.After(core.Look{Poll: core.Poll{Fault: &core.Fault{Reason: core.ReasonTimeout}}}, limits)
	if after.Inventory != before.Inventory || after.Residency != before.Residency || after.Version != "0.17.4" ||
		!after.InventoryAt.Equal(noon) {
		t.Errorf("a failed look changed what is believed: %+v", after)
	}
	if before.Status != core.Healthy || before.Failures != 0 || before.InventoryStale() {
		t.Errorf("the snapshot before it was changed: %+v", before)
	}
	if !after.InventoryStale() || !after.ResidencyStale() {
		t.Error("what a failed look didn't confirm isn't stale")
	}
}

func TestFaultOf(t *testing.T) {
	told := &core.Fault{Reason: core.ReasonDNS, Detail: "no such host"}
	for _, tt := range []struct {
		err  error
		want core.Reason
	}{
		{fmt.Errorf("list models: %w", told), core.ReasonDNS},
		{fmt.Errorf("list models: %w", core.ErrUnavailable), core.ReasonPlugin},
		{fmt.Errorf("list models: %w", core.ErrNoAnswer), core.ReasonPlugin},
		{errors.New("whatever"), core.ReasonUnknown},
	} {
		if got := core.FaultOf(tt.err); got.Reason != tt.want {
			t.Errorf("FaultOf(%v) = %s, want %s", tt.err, got.Reason, tt.want)
		}
	}
}
