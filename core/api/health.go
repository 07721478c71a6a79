package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/seed-af7fee88/foreman/core"
)

// Health is the body of GET /healthz. Times are null until there is one;
// durations are in the unit that their name says.
type Health struct {
	SchemaVersion int                   `json:"schema_version"`
	Status        core.Status           `json:"status"`
	Degraded      bool                  `json:"degraded"`
	Version       string                `json:"version"`
	Target        HealthTarget          `json:"target"`
	LastPoll      HealthPoll            `json:"last_poll"`
	LastSuccess   HealthMoment          `json:"last_success"`
	NextPollAt    *time.Time            `json:"next_poll_at"`
	PollInterval  float64               `json:"poll_interval_seconds"`
	Failures      int                   `json:"consecutive_failures"`
	Inventory     HealthList            `json:"inventory"`
	Resident      HealthList            `json:"resident"`
	Plugins       []core.PluginStatus   `json:"plugins"`
	Notifiers     []core.NotifierStatus `json:"notifiers"`
	Config        ConfigHealth          `json:"config"`
	JobsError     string                `json:"jobs_error"` // why none can be kept, or can't at present; "" if they can
}

// HealthTarget says who is asked.
type HealthTarget struct {
	Backend string `json:"backend"`
	URL     string `json:"url"`
	Version string `json:"version"`
}

// HealthPoll is the last look at the target.
type HealthPoll struct {
	At         *time.Time  `json:"at"`
	OK         bool        `json:"ok"`
	DurationMS float64     `json:"duration_ms"`
	Reason     core.Reason `json:"reason"` // "" if ok
	Error      string      `json:"error"`
}

// HealthMoment is a time and how long ago that is.
type HealthMoment struct {
	At         *time.Time `json:"at"`
	AgeSeconds *float64   `json:"age_seconds"`
}

// HealthList counts a list's models.
type HealthList struct {
	Models     int         `json:"models"`
	AsOf       *time.Time  `json:"as_of"`
	AgeSeconds *float64    `json:"age_seconds"`
	Stale      bool        `json:"stale"`
	Reason     core.Reason `json:"reason,omitempty"` // why the last look at this list alone failed
}

// ConfigHealth says which config is in force.
type ConfigHealth struct {
	File         string                   `json:"file"` // "" if there is none
	LoadedAt     *time.Time               `json:"loaded_at"`
	Error        *core.ConfigRejectedData `json:"error"`         // of a later state of the file, which isn't in force; null if there is none
	NeedsRestart []string                 `json:"needs_restart"` // keys whose change in the file counts from the next start on
}

const schemaVersion = 1

func (s *service) healthz(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, jsonType, s.health(s.inventory.Snapshot(), time.Now()))
}

func (s *service) health(snapshot *core.Snapshot, now time.Time) Health {
	h := Health{
		SchemaVersion: schemaVersion,
		Status:        snapshot.Status,
		Degraded:      snapshot.Status == core.Degraded,
		Version:       s.deps.Version,
		Target:        HealthTarget{Backend: snapshot.Backend, URL: s.targetURL(snapshot), Version: snapshot.Version},
		LastSuccess:   moment(snapshot.LastSuccess, now),
		NextPollAt:    timeOrNull(snapshot.NextPoll),
		PollInterval:  s.opts.PollInterval.Seconds(),
		Failures:      snapshot.Failures,
		Inventory:     HealthList{Stale: snapshot.InventoryStale()},
		Resident:      HealthList{Stale: snapshot.ResidencyStale()},
		Plugins:       append([]core.PluginStatus{}, s.deps.Plugins()...), // never null
		Notifiers:     append([]core.NotifierStatus{}, s.deps.Notifiers()...),
		Config:        s.deps.Config(),
		JobsError:     s.deps.NoJobs,
	}
	if s.deps.Jobs != nil {
		h.JobsError = s.deps.Jobs.StoreError()
	}
	if at := h.Config.LoadedAt; at != nil {
		h.Config.LoadedAt = timeOrNull(*at)
	}
	h.Config.NeedsRestart = append([]string{}, h.Config.NeedsRestart...)
	if poll := snapshot.LastPoll; !poll.At.IsZero() {
		h.LastPoll = HealthPoll{At: timeOrNull(poll.At), OK: poll.Fault == nil, DurationMS: milliseconds(poll.Duration)}
		if poll.Fault != nil {
			h.LastPoll.Reason, h.LastPoll.Error = poll.Fault.Reason, poll.Fault.Detail
		}
	}
	if snapshot.Inventory != nil {
		as := moment(snapshot.InventoryAt, now)
		h.Inventory.Models, h.Inventory.AsOf, h.Inventory.AgeSeconds = len(snapshot.Inventory.Models), as.At, as.AgeSeconds
	}
	if snapshot.Residency != nil {
		as := moment(snapshot.ResidencyAt, now)
		h.Resident.Models, h.Resident.AsOf, h.Resident.AgeSeconds = len(snapshot.Residency.Models), as.At, as.AgeSeconds
	}
	if snapshot.ResidencyFault != nil {
		h.Resident.Reason = snapshot.ResidencyFault.Reason
	}
	return h
}

// targetURL is the target's, which a backend may have chosen itself.
func (s *service) targetURL(snapshot *core.Snapshot) string {
	if upstream, err := s.deps.Upstream(); err == nil {
		return upstream.URL
	}
	return snapshot.URL
}

func (s *service) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, http.StatusOK, "ok")
}

// readyz is 503 until there is an inventory to answer from, of this process
// or an earlier one.
func (s *service) readyz(w http.ResponseWriter, r *http.Request) error {
	snapshot := s.inventory.Snapshot()
	status, text := http.StatusOK, "ok"
	if snapshot.Inventory == nil {
		status, text = http.StatusServiceUnavailable, "no inventory yet"
	}
	if r.URL.Query().Has("verbose") {
		text += "\ntarget " + string(snapshot.Status)
		for _, p := range s.deps.Plugins() {
			text += fmt.Sprintf("\nplugin %s %s", p.Name, p.State)
		}
	}
	return writeText(w, status, text)
}

func writeText(w http.ResponseWriter, status int, text string) error {
	return send(w, status, textType, []byte(text+"\n"))
}

func moment(at, now time.Time) HealthMoment {
	if at.IsZero() {
		return HealthMoment{}
	}
	age := float64(max(0, now.Sub(at)).Round(time.Millisecond).Milliseconds()) / 1000
	return HealthMoment{At: timeOrNull(at), AgeSeconds: &age}
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
