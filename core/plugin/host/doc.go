// Package host keeps plugin processes alive. [StartBackend] and
// [StartNotifier] run one process for one use; a [Backend] or a [Notifier] is
// a slot, a stable handle whose process is started again whenever it ends or
// hangs:
//
//	starting ──configured──► running ──exit, or silent to a ping──► waiting
//	    │                       ▲                                    │  ▲
//	    │              swap, from any state                          │  │
//	    └──────────────── failed ────────────────────────────────────┼──┘
//	                       starting ◄──────────── backoff ───────────┘
//
// While no process runs, a slot's methods fail at once with
// [core.ErrUnavailable].
//
// go-plugin shakes hands with the process and dials it. What this package adds
// are bounds: a process that is stopped, that hangs, floods, or leaves
// children behind costs foreman a moment and leaks nothing.
package host
