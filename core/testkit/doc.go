// Package testkit brings real processes up for tests: an Ollama of its own on
// loopback, with tiny models that load, answer, stream and embed on a CPU, and
// ways to kill, freeze and restart it; a foreman in front of it; and a bad link
// between the two. Only test files import it.
//
// What needs no real Ollama uses the simulated one, plugins/sim.
package testkit
