package outbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/outbox"
)

// left fills dir with what a foreman leaves whose notifier was down, and
// returns the file.
func left(t *testing.T, dir string, events ...core.Event) string {
	t.Helper()
	q := start(t, &recipient{answer: fails(core.ErrUnavailable)}, dir, everything)
	for _, e := range events {
		q.Offer(e)
	}
	synctest.Wait()
	q.stop()
	return onlyFile(t, dir)
}

func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("in the directory: %v, %v; want one file", files, err)
	}
	return filepath.Join(dir, files[0].Name())
}

func TestWhatWaitsSurvivesARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "not", "there", "yet")
		want := core.NewEvent(core.EventModelAdded, time.Now(), target, "tiny <b> was added.", core.ModelData{Model: "tiny", Size: 1<<53 + 1})
		want.ID = "id-1"
		file := left(t, dir, want, added(2))
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("the file: %v, %v", info.Mode(), err)
		}
		pass(23 * time.Hour)
		r := &recipient{}
		q := start(t, r, dir, everything)
		q.Offer(added(3))
		synctest.Wait()
		if diff := cmp.Diff([]string{"id-1", "id-0002", "id-0003"}, r.ids()); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(want, r.got()[0].Event); diff != "" {
			t.Error(diff)
		}
		q.stop()

		again := &recipient{}
		start(t, again, dir, everything)
		synctest.Wait()
		if len(again.got()) > 0 {
			t.Errorf("delivered again with the next start: %v", again.ids())
		}
	})
}

func TestTooOldAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		left(t, dir, added(0))
		pass(25 * time.Hour)
		r := &recipient{}
		q := start(t, r, dir, everything)
		q.Offer(added(1))
		synctest.Wait()
		if s := q.Status(); s.Dropped != 1 || len(r.got()) != 1 || field(t, r.got()[0].Event, "dropped") != 1. {
			t.Errorf("status %+v, arrived %v", s, r.got())
		}
	})
}

func TestDroppedIsToldAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, r := t.TempDir(), &recipient{answer: fails(core.ErrUndeliverable)}
		q := start(t, r, dir, everything)
		q.Offer(added(0))
		synctest.Wait()
		q.stop()
		r.answers(nil)
		q = start(t, r, dir, everything)
		q.Offer(added(1))
		synctest.Wait()
		if got := field(t, r.got()[0].Event, "dropped"); got != 1. {
			t.Errorf("the next message says dropped: %v", got)
		}
	})
}

func TestFoldingAndRemindersSurviveARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, r := t.TempDir(), &recipient{}
		opts := outbox.Options{Events: []string{"*"}, MinInterval: 5 * time.Minute, RemindEvery: time.Hour}
		restart := func(story string) {
			q := start(t, r, dir, opts)
			play(t, q, story)
			q.stop()
		}
		restart("0s degraded, 1s recovered, 2s degraded")
		restart("3s recovered, 4s degraded")
		restart("2m model_added")
		restart("80m model_added")
		restart("81m recovered")
		want := "0s degraded, 1s recovered, 2m0s model_added, 5m0s degraded +2, 1h5m0s degraded again, 1h20m0s model_added, 1h21m0s recovered"
		if diff := cmp.Diff(want, told(t, r)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAClockThatWasSetBackHoldsNothingForLong(t *testing.T) {
	dir, r := t.TempDir(), &recipient{}
	opts := outbox.Options{Events: []string{"*"}, MinInterval: 5 * time.Minute, RemindEvery: time.Hour}
	bubble(t, func(t *testing.T) { play(t, start(t, r, dir, opts), "10h degraded") })
	bubble(t, func(t *testing.T) { // it begins when the other did
		play(t, start(t, r, dir, opts), "70m recovered, 70m degraded")
		if diff := cmp.Diff("10h0m0s degraded, 1h0m0s degraded again, 1h10m0s recovered, 1h10m0s degraded", told(t, r)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnEventIsInTheFileBeforeItIsTold(t *testing.T) {
	dir := t.TempDir()
	missing := make(chan bool)
	q := start(t, notify(func(_ context.Context, e core.Event) error {
		saved, _ := os.ReadFile(filepath.Join(dir, "outbox-ops.jsonl")) // one that can't be read lacks the event
		missing <- !strings.Contains(string(saved), e.ID)
		return nil
	}), dir, everything)
	for n := range 100 {
		q.Offer(added(n))
		if <-missing {
			t.Fatalf("event %d isn't in the file", n)
		}
	}
}

func TestABrokenFileLosesOnlyWhatIsBroken(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(string) string
		want  []string
	}{
		{"torn in the last line", func(s string) string { return s[:len(s)-3] }, addedIDs(0, 2)},
		{"zeroes at the end", func(s string) string { return s + strings.Repeat("\x00", 512) }, addedIDs(0, 3)},
		{"a line in the middle", func(s string) string {
			lines := strings.SplitAfter(s, "\n")
			lines[2] = "what?\n" // the first has no event
			return strings.Join(lines, "")
		}, []string{"id-0000", "id-0002"}},
		{"a state that is none", func(s string) string { return s + `{"state":7}` + "\n" }, addedIDs(0, 3)},
		{"nothing of it is right", func(s string) string { return strings.Repeat("?", len(s)) }, []string{}},
		{"empty", func(string) string { return "" }, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir := t.TempDir()
				r := &recipient{answer: fails(errors.New("no"))}
				q := start(t, r, dir, everything)
				synctest.Wait()
				for n := range 3 { // a line each
					q.Offer(added(n))
					synctest.Wait()
				}
				whole, err := os.ReadFile(onlyFile(t, dir)) // as a kill would leave it
				if err != nil {
					t.Fatal(err)
				}
				q.stop()
				spoilt := tt.spoil(string(whole))
				if err := os.WriteFile(onlyFile(t, dir), []byte(spoilt), 0o600); err != nil {
					t.Fatal(err)
				}

				q = start(t, r, dir, everything)
				synctest.Wait()
				if warned := strings.Contains(q.logged.String(), "can't be read"); warned != (spoilt != "") {
					t.Errorf("warned: %t\n%s", warned, q.logged)
				}
				q.Offer(added(8)) // what is written behind a torn line must be found
				synctest.Wait()
				q.stop()
				r.answers(nil)
				start(t, r, dir, everything)
				synctest.Wait()
				if diff := cmp.Diff(append(tt.want, added(8).ID), r.ids()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestTheFileStaysSmall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, r := t.TempDir(), &recipient{}
		q := start(t, r, dir, everything)
		largest := int64(0)
		for n := range 5000 {
			q.Offer(added(n))
			synctest.Wait()
			info, err := os.Stat(onlyFile(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			largest = max(largest, info.Size())
		}
		if largest > 64<<10 {
			t.Errorf("it grew to %d bytes while nothing waited", largest)
		}
		if len(r.got()) != 5000 {
			t.Errorf("%d events arrived", len(r.got()))
		}
	})
}

func TestWithoutADiskItGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name        string
		spoil, mend func(dir string) error
	}{
		{"the directory is a file",
			func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
			os.Remove},
		{"the disk is full",
			func(dir string) error {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return err
				}
				_ = os.Symlink("/dev/full", filepath.Join(dir, "outbox-ops.jsonl.tmp")) // it may be there still
				return nil
			},
			func(dir string) error { return os.RemoveAll(filepath.Join(dir, "outbox-ops.jsonl.tmp")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := os.Stat("/dev/full"); err != nil {
				t.Skip("no /dev/full here")
			}
			bubble(t, func(t *testing.T) {
				dir, r := filepath.Join(t.TempDir(), "state"), &recipient{}
				spoil := func() {
					if err := tt.spoil(dir); err != nil {
						t.Fatal(err)
					}
				}
				spoil()
				q := start(t, r, dir, everything)
				for n := range 10 {
					q.Offer(added(n))
					pass(7 * time.Second)
					spoil()
				}
				if diff := cmp.Diff(addedIDs(0, 10), r.ids()); diff != "" {
					t.Fatal(diff)
				}
				if s := q.Status(); !strings.HasPrefix(s.Error, "not saved: ") {
					t.Errorf("status: %+v", s)
				}
				r.answers(fails(errors.New("no")))
				q.Offer(added(10))
				synctest.Wait()
				if s := q.Status(); !strings.HasPrefix(s.Error, "no; not saved: ") {
					t.Errorf("status: %+v", s)
				}
				if n := strings.Count(q.logged.String(), "can't be saved"); n != 1 {
					t.Errorf("it is logged %d times:\n%s", n, q.logged)
				}

				if err := tt.mend(dir); err != nil {
					t.Fatal(err)
				}
				pass(10 * time.Second)
				if s := q.Status(); s.Error != "no" {
					t.Errorf("once it can be saved again: %+v", s)
				}
				q.stop()
				after := &recipient{}
				start(t, after, dir, everything)
				synctest.Wait()
				if diff := cmp.Diff(addedIDs(10, 11), after.ids()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestADiskThatFillsUpLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, r := t.TempDir(), &recipient{}
		tmp := filepath.Join(dir, "outbox-ops.jsonl.tmp")
		q := start(t, r, dir, everything)
		synctest.Wait()
		if err := os.Symlink("/dev/full", tmp); err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; q.Status().Error == "" && n < 1000; n++ {
			q.Offer(added(n))
			synctest.Wait()
		}
		if _, err := os.Lstat(tmp); err == nil {
			t.Error("what couldn't be written takes up space still")
		}
		r.answers(fails(errors.New("no")))
		q.Offer(added(n))
		pass(10 * time.Second)
		if s := q.Status(); s.Error != "no" {
			t.Errorf("once there is space: %+v", s)
		}
		q.stop()
		after := &recipient{}
		start(t, after, dir, everything)
		synctest.Wait()
		if diff := cmp.Diff(addedIDs(n, n+1), after.ids()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnyNameHasAFileInTheDirectory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		for i, name := range []string{"ops", "../ops", "a/b", "..", "Ünal's phone"} {
			q := outbox.New(name, &recipient{}, dir, everything, quiet)
			q.Offer(added(i))
			if err := q.Run(ended(t)); err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != i+1 {
				t.Fatalf("with %q there are %v, %v", name, files, err)
			}
			if s := q.Status(); s.Error != "" {
				t.Errorf("%q: %s", name, s.Error)
			}
		}
	})
}
