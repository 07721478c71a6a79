package core

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
	Kind     string      `json:"kind"`
	State    PluginState `json:"state"`
	Restarts int         `json:"restarts"` // starts after the first
	Error    string      `json:"error,omitempty"`
}
