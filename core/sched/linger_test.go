package sched_test

import (
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/sched"
)

func TestLinger(t *testing.T) {
	for title, script := range map[string]string{
		"it waits for who has come back soon, three of their pauses at most": `
			0s add a1 => swap a
			0s resident a => start a1
			2s done a1 =>
			6s add a2 => start a2
			7s add b1 =>
			8s done a2 => until 20s
			9s add b2 => until 20s
			11s add a3 => start a3
			15s done a3 => until 25.5s
			25.5s tick => swap b`,
		"it doesn't wait for whose pauses are long, or not known": `
			0s add a1 => swap a
			0s resident a => start a1
			1s add b1 =>
			2s done a1 => swap b
			3s resident b => start b1
			4s done b1 =>
			36s add b2 => start b2
			37s add a2 =>
			38s done b2 => swap a`,
		"a night is forgotten by the third call of the morning": `
			0s add a1 => swap a
			0s resident a => start a1
			1s done a1 =>
			9h add a2 => start a2
			9h1s done a2 =>
			9h2s add a3 => start a3
			9h3s done a3 =>
			9h4s add a4 => start a4
			9h5s add b1 =>
			9h5s done a4 => until 9h0m25s`,
		"who asks while others are served hasn't paused": `
			0s add a1 => swap a
			0s resident a => start a1
			2s done a1 =>
			6s add a2 => start a2
			16s add a3 =>
			17s done a2 => start a3
			18s done a3 =>
			18s add b1 => until 30s`,
		"nor who asks while others wait": `
			0s add a1 => swap a
			0s resident a => start a1
			2s done a1 =>
			3s add b1 => swap b
			4s resident b => start b1
			6s add a2 =>
			16s add a3 =>
			17s done b1 => swap a
			18s resident a => start a2
			19s done a2 => start a3
			20s done a3 =>
			20s add c1 => until 32s`,
		"it lingers so long in a stint, and no longer": `
			0s add a1 => swap a
			0s resident a => start a1
			1s done a1 =>
			9s add a2 => start a2
			10s add b1 =>
			10s done a2 => until 30s
			18s add a3 => start a3
			19s done a3 => until 31s
			27s add a4 => start a4
			28s done a4 => swap b
			30s resident b => start b1
			31s done b1 =>
			32s add a5 => swap a
			33s resident a => start a5
			34s add b2 =>
			35s done a5 => until 53s`,
		"what idles while nobody waits isn't counted": `
			0s add a1 => swap a
			0s resident a => start a1
			1s done a1 =>
			9s add a2 => start a2
			10s done a2 =>
			17s add b1 => until 34s
			18s leave b1 =>
			19s add a3 => start a3
			20s add b2 =>
			21s done a3 => until 40s`,
		"not beyond the stint": `
			0s add a1 => swap a
			0s resident a => start a1
			1s done a1 =>
			9s add a2 => start a2
			10s add b1 =>
			308s done a2 => until 5m10s
			309s leave b1 =>
			310s add b1 => until 5m29s`,
		"not before a swap that is free, nor for who has gone": `
			0s add a1 => swap a
			0s resident a b => start a1
			1s done a1 =>
			2s add a2 => start a2
			3s add b1 =>
			4s done a2 => swap b
			4s resident a b => start b1
			5s done b1 =>
			6s add c1 => swap c
			7s resident c => start c1
			8s done c1 =>
			9s add c2 => start c2
			10s done c2 =>
			10s add a3 => until 13s
			11s resident => swap a`,
		"not once eleven callers wait": `
			0s add a1 => swap a
			0s resident a => start a1
			1s done a1 =>
			9s add a2 => start a2
			10s add j1 =>
			10s add b1 interactive =>
			10s add b2 interactive =>
			10s add b3 interactive =>
			10s add b4 interactive =>
			10s add b5 interactive =>
			10s add b6 interactive =>
			10s add b7 interactive =>
			10s add b8 interactive =>
			10s add b9 interactive =>
			10s add b10 interactive =>
			11s done a2 => until 31s
			12s add j2 => until 31s
			13s add b11 interactive => swap j`,
	} {
		t.Run(title, func(t *testing.T) {
			runScript(t, sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute, Linger: 20 * time.Second}, script)
		})
	}
}

func TestAJobThatComesAgainSaysNothingOfPauses(t *testing.T) {
	q := sched.NewQueue(sched.Rules{Parallel: 1, MaxStint: 5 * time.Minute, Linger: 20 * time.Second})
	for _, event := range []string{"10s add a1", "10s resident a", "12s done a1", "16s add a2", "17s done a2"} {
		steps(q, happen(t, q, event))
	}
	q.Add(request(t, []string{"a1"}, at(t, "10s")))
	for _, event := range []string{"18s tick", "18s add b1"} {
		steps(q, happen(t, q, event))
	}
	if got := steps(q, happen(t, q, "19s done a1")); got != "until 31s" {
		t.Errorf("it says %q", got)
	}
}
