// Package host keeps plugin processes alive. [Start] runs one process for
// one use; a [Slot] is a stable handle on a backend whose process is started
// again whenever it ends or hangs:
//
//	starting ──configured──► running ──exit, or silent to a ping──► waiting
//	    │                                                            │  ▲
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
