package outbox_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/outbox"
)

const inAll = 50

// foreman is what TestKilledInTheMiddle kills: it delivers to its stdout, and
// hangs in the delivery of the event with that ID. With none there is nothing
// to continue yet, so it has something happen first.
func foreman(dir, hangAt string) {
	n := notify(func(_ context.Context, event core.Event) error {
		fmt.Println(event.ID)
		if event.ID == hangAt {
			select {}
		}
		return nil
	})
	q := outbox.New("ops", n, dir, everything, quiet)
	if _, err := os.Stat(dir); err != nil {
		for n := range inAll {
			q.Offer(added(n))
		}
	}
	_ = q.Run(context.Background())
}

// Each foreman is killed in a delivery. What the file has is delivered by the
// next: that event again, and then those after it.
func TestKilledInTheMiddle(t *testing.T) {
	dir := t.TempDir() + "/state"
	var got, want []string
	from := 0
	for _, until := range []int{0, 7, 8, 30, inAll - 1} {
		arrived := runUntil(t, dir, added(until).ID)
		got = append(got, arrived...)
		want = append(want, addedIDs(from, until+1)...)
		from = until
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if all := slices.Compact(got); len(all) != inAll {
		t.Errorf("%d events arrived of %d", len(all), inAll)
	}
}

// runUntil starts a foreman, kills it once it says that ID, and returns all
// that it said.
func runUntil(t *testing.T, dir, id string) (said []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "foreman", dir, id)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		said = append(said, lines.Text())
		if lines.Text() == id {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	return said
}
