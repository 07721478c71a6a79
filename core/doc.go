// Package core names what foreman talks about: model names, models,
// residents, faults, events, jobs, and the immutable [Snapshot] that every reader of
// the inventory sees. It holds values and rules only: no I/O, no goroutine,
// and nothing beyond the standard library but a measure of how alike names
// are.
//
// The rooms around it each do one thing and import core, never each other:
//
//	cmd/foreman ──► core/daemon ──► core/inventory      one goroutine publishes snapshots
//	  │  │  │           ├─────────► core/events         what happens, one after the other
//	  │  │  │           ├─────────► core/outbox         a queue for each notifier; never blocks anyone
//	  │  │  │           ├─────────► core/sched          whose turn it is: one model after the other
//	  │  │  │           ├─────────► core/jobs           work that outlives its caller
//	  │  │  │           │             └ riverstore      where it is kept
//	  │  │  │           ├─────────► core/api            answers HTTP, passes inference on
//	  │  │  │           ├─────────► core/config         one file, checked whole, watched
//	  │  │  │           └─────────► core/plugin/host    keeps plugin processes alive
//	  │  │  │                            │
//	  │  │  └► plugins/ollama, openai ─► core/plugin    the wire between the two sides
//	  │  │     plugins/sim, notify
//	  │  │           └ internal/target    what ollama and openai share
//	  │  └───► core/plugin, to serve them
//	  ├──────► core/api, its client, and core/config
//	  └──────► core/sched, of which replay plays a recorded day through
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
// One event: core/events compares each snapshot with the one before by
// [Changes]; what it makes of them goes into the feed that GET /events reads,
// and is offered to each notifier's queue in core/outbox, which writes it down
// and calls [Notifier.Notify] on its slot until it has arrived.
//
// One job: POST /jobs hands it to core/jobs, which keeps it in a store before
// the caller has an answer. The oldest of each model and priority wait in
// core/sched, beside the requests of callers on the line, for their model's
// turn. Then the job is claimed, core/api has the target do it, and what it
// answered is stored together with the end of the job.
//
// One reload: core/daemon loads the file, starts the plugins that the new
// config runs differently, and only then has each room change what it does;
// a config that can't be used stops before that.
//
// Who may import whom is a table in layers_test.go.
package core
