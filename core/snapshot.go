package core

import "time"

// Status is what foreman believes about its target.
//
//	starting ──one success──► healthy ──fall failures in a row──► degraded
//	    └──────────────fall failures in a row─────────────────▲ │
//	                   healthy ◄──rise successes in a row───────┘
//
// While starting one success is enough.
type Status string

// The states of a target.
const (
	Starting Status = "starting"
	Healthy  Status = "healthy"
	Degraded Status = "degraded"
)

// AbsenceLasts is how long the inventory of a target that is away still shows
// that a model is missing. Afterwards nobody can tell.
const AbsenceLasts = time.Minute

// Thresholds say how many looks in a row change a [Status].
type Thresholds struct {
	Fall int // failures until degraded
	Rise int // successes until healthy again
}

// A Poll is one look at the target, over.
type Poll struct {
	At       time.Time // when it began; zero if there was none yet
	Duration time.Duration
	Fault    *Fault // nil if the target listed its models
}

// A Snapshot is all that foreman believes at one moment. It is immutable and
// published whole, so models and health can't disagree.
type Snapshot struct {
	Status   Status
	Backend  string // the plugin's name
	URL      string // the target's, as the backend states it
	Version  string // as the target last stated it; "" until then
	Failures int    // failed looks in a row
	LastPoll Poll
	NextPoll time.Time

	Inventory   *Inventory // nil until there is a first one
	InventoryAt time.Time  // when the target last confirmed it
	LastSuccess time.Time  // as InventoryAt, but of this process; zero until then

	Residency      *Residency // nil until there is a first one
	ResidencyAt    time.Time
	ResidencyFrom  time.Time // when the look began that ResidencyAt is the end of
	ResidencyFault *Fault    // why the last look at it failed

	streak int // successful looks in a row
}

// A Look is what one poll or probe brought.
type Look struct {
	Poll
	Version string // "" if the look doesn't tell

	// ProbeOnly marks a look that asked for no lists: its success counts
	// toward healthy but doesn't reach it, since nothing is known yet.
	ProbeOnly bool

	Inventory      *Inventory // the same pointer if it is unchanged
	Residency      *Residency
	ResidencyFault *Fault
}

// After is what is believed once look has been taken: of a failed one the
// same as before, with one failure more. s stays as it is.
func (s *Snapshot) After(look Look, limits Thresholds) *Snapshot {
	next := *s
	if look.Version != "" {
		next.Version = look.Version
	}
	if look.Fault != nil {
		next.LastPoll = look.Poll
		next.streak = 0
		next.Failures++
		if next.Failures >= limits.Fall {
			next.Status = Degraded
		}
		return &next
	}
	next.streak++
	if look.ProbeOnly {
		return &next
	}
	next.LastPoll = look.Poll
	next.Failures = 0
	now := look.At.Add(look.Duration).Round(0) // by the wall: the other clock stops while the machine sleeps
	next.Inventory, next.InventoryAt, next.LastSuccess = look.Inventory, now, now
	if next.ResidencyFault = look.ResidencyFault; look.ResidencyFault == nil {
		next.Residency, next.ResidencyAt, next.ResidencyFrom = look.Residency, now, look.At
	}
	if s.Status != Degraded || next.streak >= limits.Rise {
		next.Status = Healthy
	}
	return &next
}

// SameTarget reports whether both are about one target.
func (s *Snapshot) SameTarget(other *Snapshot) bool {
	return s.Backend == other.Backend && s.URL == other.URL
}

// InventoryStale reports whether the last look failed to confirm the
// inventory, or none of this process did yet.
func (s *Snapshot) InventoryStale() bool {
	return s.LastSuccess.IsZero() || s.LastPoll.Fault != nil
}

// ResidencyStale is the same of the resident models.
func (s *Snapshot) ResidencyStale() bool {
	return s.ResidencyAt.IsZero() || s.LastPoll.Fault != nil || s.ResidencyFault != nil
}
