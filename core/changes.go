package core

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// An Outage is a target that was told degraded and not yet recovered.
type Outage struct {
	Backend string    `json:"backend"`
	URL     string    `json:"url"`
	Since   time.Time `json:"since"` // when it was told
	Told    bool      `json:"told"`  // for sure: else foreman was killed while it did
}

// Changes turns successive snapshots into the events that they mean. The
// zero value expects nothing of the target; one goroutine owns it.
//
// What a target lists is believed before it is told: the first list of models
// is no news, whether a look brought it or the state file, and nor is the
// first list of residents. From then on
//
//   - a model that is new, or has another digest, is told at once;
//   - one that is gone is told once Settle successful looks in a row lacked
//     it, since a model that is being overwritten is gone for a moment;
//   - a resident model counts as loaded, or as unloaded, after as many looks
//     at the residents.
//
// Failed looks and probes say nothing about models: they neither count nor
// begin the count anew. Another target makes a fresh start of the models, not
// of the outage: whoever heard that the target is away hears when there is
// one again.
type Changes struct {
	Settle int     // looks; less than one counts as one
	Outage *Outage // nil if the last that was told of the target is good; never written through

	target      TargetIdentity
	lookedAt    time.Time // LastSuccess when the models were last compared
	residencyAt time.Time
	models      map[string]*modelBelief // by modelKey; nil until there is a first list
	residents   map[residentKey]*residentBelief
}

type modelBelief struct {
	Model
	missing int // looks in a row without it
}

type residentKey struct{ name, digest string }

type residentBelief struct {
	loaded   bool
	contrary int // looks in a row that showed the opposite
}

// After returns what s means after the snapshots before it: events without an
// ID that happened now. Snapshots may have been left out.
func (c *Changes) After(s *Snapshot, now time.Time) []Event {
	tell := func(kind EventType, sentence string, data any) Event {
		return NewEvent(kind, now, c.target.URL, sentence, data)
	}
	var events []Event
	if was, changed := c.meet(s); changed {
		data := TargetChangedData{Was: was, Now: c.target}
		events = append(events, tell(EventTargetChanged, data.sentence(), data))
	}
	switch {
	case s.Status == Degraded && !c.toldDegraded():
		c.Outage = &Outage{Backend: c.target.Backend, URL: c.target.URL, Since: now, Told: true}
		data := degradedData(s)
		events = append(events, tell(EventDegraded, data.sentence(c.target.URL), data))
	case s.Status == Healthy && c.Outage != nil:
		away := max(0, now.Round(0).Sub(c.Outage.Since.Round(0))) // by the wall, as after a restart
		data := RecoveredData{DegradedAt: eventTime(c.Outage.Since), DegradedSeconds: math.Round(away.Seconds()*1e3) / 1e3}
		events = append(events, tell(EventRecovered, recoveredSentence(c.target.URL, c.Outage.URL, away), data))
		c.Outage = nil
	}
	for _, change := range c.modelChanges(s) {
		events = append(events, tell(change.kind, change.sentence(), change.ModelData))
	}
	if data, changed := c.residentChange(s); changed {
		events = append(events, tell(EventResidentChanged, data.sentence(), data))
	}
	return events
}

// meet takes over who the target of s is, and reports whether that is news.
// What a snapshot doesn't state is as it was.
func (c *Changes) meet(s *Snapshot) (was TargetIdentity, changed bool) {
	was = c.target
	another := differ(was.Backend, s.Backend) || differ(was.URL, s.URL)
	c.target = TargetIdentity{
		Backend: cmp.Or(s.Backend, was.Backend), URL: cmp.Or(s.URL, was.URL), Version: cmp.Or(s.Version, was.Version),
	}
	if another {
		c.target.Version = s.Version
		c.models, c.residents = nil, nil
	}
	return was, another || differ(was.Version, s.Version)
}

// differ reports whether both are known and not the same.
func differ(was, is string) bool { return was != "" && is != "" && was != is }

// toldDegraded reports whether an outage was told and is this target's.
func (c *Changes) toldDegraded() bool {
	return c.Outage != nil && c.Outage.Told && !differ(c.Outage.Backend, c.target.Backend) && !differ(c.Outage.URL, c.target.URL)
}

func (c *Changes) settled(looks int) bool { return looks >= max(1, c.Settle) }

type modelChange struct {
	kind EventType
	ModelData
}

// modelChanges are those of installed models: added and changed ones in the
// list's order, then removed ones by name.
func (c *Changes) modelChanges(s *Snapshot) []modelChange {
	if s.Inventory == nil {
		return nil
	}
	if c.models == nil {
		c.models = make(map[string]*modelBelief, len(s.Inventory.Models))
		for _, m := range s.Inventory.Models {
			c.models[modelKey(m)] = &modelBelief{Model: m}
		}
		return nil
	}
	if s.LastSuccess.IsZero() || s.LastSuccess.Equal(c.lookedAt) {
		return nil // it shows no other look
	}
	c.lookedAt = s.LastSuccess
	for _, belief := range c.models {
		belief.missing++
	}
	var changes []modelChange
	for _, m := range s.Inventory.Models {
		belief := c.models[modelKey(m)]
		if belief == nil {
			c.models[modelKey(m)] = &modelBelief{Model: m}
			changes = append(changes, modelChange{EventModelAdded, modelData(m)})
			continue
		}
		was := belief.Digest
		m.Digest = cmp.Or(m.Digest, was)
		*belief = modelBelief{Model: m}
		if was != "" && m.Digest != was {
			data := modelData(m)
			data.WasDigest = was
			changes = append(changes, modelChange{EventModelChanged, data})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.models)) {
		if belief := c.models[key]; c.settled(belief.missing) {
			delete(c.models, key)
			changes = append(changes, modelChange{EventModelRemoved, modelData(belief.Model)})
		}
	}
	return changes
}

// modelKey is the same for names that mean the same model.
func modelKey(m Model) string {
	if name := NameOf(m.Name); name != (ModelName{}) {
		return name.String()
	}
	return m.Name
}

func modelData(m Model) ModelData {
	return ModelData{Model: m.Name, Digest: m.Digest, Size: m.Size}
}

// residentChange compares names and digests: the order, the unload times and
// how often a runner is listed don't count.
func (c *Changes) residentChange(s *Snapshot) (ResidentData, bool) {
	if s.Residency == nil || s.ResidencyAt.Equal(c.residencyAt) {
		return ResidentData{}, false
	}
	c.residencyAt = s.ResidencyAt
	first := c.residents == nil
	if first {
		c.residents = map[residentKey]*residentBelief{}
	}
	listed := make(map[residentKey]bool, len(s.Residency.Models))
	for _, r := range s.Residency.Models {
		key := residentKey{r.Name, r.Digest}
		listed[key] = true
		if c.residents[key] == nil {
			c.residents[key] = &residentBelief{loaded: first}
		}
	}
	var data ResidentData
	for key, belief := range c.residents {
		if listed[key] == belief.loaded {
			belief.contrary = 0
		} else if belief.contrary++; c.settled(belief.contrary) {
			belief.loaded, belief.contrary = listed[key], 0
			if belief.loaded {
				data.Loaded = append(data.Loaded, key.name)
			} else {
				data.Unloaded = append(data.Unloaded, key.name)
			}
		}
		if belief.loaded {
			data.Resident = append(data.Resident, key.name)
		} else if !listed[key] {
			delete(c.residents, key)
		}
	}
	for _, names := range []*Names{&data.Resident, &data.Loaded, &data.Unloaded} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return data, len(data.Loaded)+len(data.Unloaded) > 0
}

func degradedData(s *Snapshot) DegradedData {
	data := DegradedData{Reason: ReasonUnknown, Failures: s.Failures}
	if fault := s.LastPoll.Fault; fault != nil {
		data.Reason, data.Error = fault.Reason, fault.Detail
	}
	if !s.LastSuccess.IsZero() {
		at := eventTime(s.LastSuccess)
		data.LastSuccess = &at
	}
	return data
}

func (d DegradedData) sentence(url string) string {
	return fmt.Sprintf("%s is degraded: %s", theTarget(url), cmp.Or(d.Error, "nobody knows why"))
}

func recoveredSentence(url, wasURL string, away time.Duration) string {
	if differ(wasURL, url) {
		return fmt.Sprintf("the target is now %s and healthy: %s had been degraded for %s", url, wasURL, away.Round(time.Second))
	}
	return fmt.Sprintf("%s is healthy again after %s", theTarget(url), away.Round(time.Second))
}

func (d TargetChangedData) sentence() string {
	if d.Was.Backend != d.Now.Backend || d.Was.URL != d.Now.URL {
		return fmt.Sprintf("the target is now %s (%s): it was %s (%s)", d.Now.URL, d.Now.Backend, d.Was.URL, d.Was.Backend)
	}
	return fmt.Sprintf("%s has version %s: it had %s", theTarget(d.Now.URL), ShortName(d.Now.Version), ShortName(d.Was.Version))
}

func (c modelChange) sentence() string {
	name := ShortName(c.Model)
	switch c.kind {
	case EventModelAdded:
		return fmt.Sprintf("model %s was installed", name)
	case EventModelRemoved:
		return fmt.Sprintf("model %s was removed", name)
	default:
		return fmt.Sprintf("model %s was replaced: digest %.12s, it was %.12s", name, c.Digest, c.WasDigest)
	}
}

func (d ResidentData) sentence() string {
	var parts []string
	if len(d.Loaded) > 0 {
		parts = append(parts, "loaded "+d.Loaded.listed())
	}
	if len(d.Unloaded) > 0 {
		parts = append(parts, "unloaded "+d.Unloaded.listed())
	}
	return strings.Join(parts, "; ")
}

func theTarget(url string) string {
	if url == "" {
		return "the target"
	}
	return "target " + url
}
