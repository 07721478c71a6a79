package core

import "time"

// PluginState is what a plugin's process does.
type PluginState string

// The states of a plugin.
const (
	PluginStarting PluginState = "starting"
	PluginRunning  PluginState = "running"
	PluginWaiting  PluginState = "waiting" // to be started again
	PluginStopped  PluginState = "stopped" // by foreman, for good
)

// PluginStatus is what /healthz tells of a plugin.
type PluginStatus struct {
	Name     string      `json:"name"`
	Kind     string      `json:"kind"` // backend or notifier
	State    PluginState `json:"state"`
	Version  string      `json:"version,omitempty"`  // its own, as it states it
	Protocol int         `json:"protocol,omitempty"` // version of the plugin contract that it speaks; 0 until it ran
	Restarts int         `json:"restarts"`           // starts after the first
	Error    string      `json:"error,omitempty"`
}

// NotifierStatus is what /healthz tells of a notifier's queue.
type NotifierStatus struct {
	Name      string     `json:"name"`
	Queued    int        `json:"queued"`          // events that wait
	Delivered int        `json:"delivered"`       // since foreman started, as are the next two
	Dropped   int        `json:"dropped"`         // because the queue was full, or the event undeliverable
	Folded    int        `json:"folded"`          // changes of health that min_interval kept back for good
	LastAt    *time.Time `json:"last_at"`         // of the last delivery; null until there is one
	Error     string     `json:"error,omitempty"` // of the last attempt, if it failed
}
