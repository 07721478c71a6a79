// Package pluginpb is the wire between foreman and a plugin process:
// foreman.proto and the code that is generated from it, committed together.
//
// An author in another language generates from foreman.proto; one in Go uses
// core/plugin and never sees this package.
package pluginpb

//go:generate go run ./gen
