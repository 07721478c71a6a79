// Package core names what foreman talks about: model names, models,
// residents, faults, and the immutable [Snapshot] that every reader of the
// inventory sees. It holds values and rules only: no I/O, no goroutine, and
// nothing beyond the standard library but a measure of how alike names are.
//
// The rooms around it each do one thing and import core, never each other:
//
//	cmd/foreman ──► core/daemon ──► core/inventory      one goroutine publishes snapshots
//	  │  │  │           ├─────────► core/api            answers HTTP, passes inference on
//	  │  │  │           ├─────────► core/config         one file, checked whole
//	  │  │  │           └─────────► core/plugin/host    keeps plugin processes alive
//	  │  │  │                            │
//	  │  │  └► plugins/ollama, sim ──► core/plugin      the wire between the two sides
//	  │  └───► core/plugin, to serve them
//	  └──────► core/api, its client, and core/config
//
// One poll, walked through: the poller in core/inventory calls
// [Backend.Models] and [Backend.Running] on a slot of core/plugin/host, which
// carries both over gRPC to the plugin process; plugins/ollama asks the
// target and returns models, or a [Fault] that says what is wrong. The poller
// folds either into the next [Snapshot] and publishes it. A request for a list
// loads that snapshot once and writes bytes that are already encoded. One for
// inference never meets the plugin: core/api looks its model up in the
// snapshot, and proxies it to the [Upstream] that Configure named.
//
// Who may import whom is a table in layers_test.go.
package core
