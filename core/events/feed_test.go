package events_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(sentence string) core.Event {
	return core.NewEvent(core.EventTest, time.Now(), "http://a:1", sentence, nil)
}

// sentences are those of what Since returns, joined.
func sentences(list []core.Event) string {
	var all []string
	for _, e := range list {
		all = append(all, e.Sentence)
	}
	return strings.Join(all, " ")
}

func TestFeedSince(t *testing.T) {
	feed := events.NewFeed(3)
	before := events.NewFeed(3).Publish(event("of another foreman")).ID
	var ids []string
	publish := func(sentence string) {
		given := event(sentence)
		published := feed.Publish(given)
		if given.ID = published.ID; !cmp.Equal(given, published) {
			t.Errorf("Publish made %+v of %+v", published, given)
		}
		ids = append(ids, published.ID)
	}
	expect := func(id, want string, complete bool) {
		t.Helper()
		list, gotComplete, more := feed.Since(id)
		if got := sentences(list); got != want || gotComplete != complete || more == nil {
			t.Errorf("since %q: %q, complete: %t; want %q, %t", id, got, gotComplete, want, complete)
		}
	}
	expect("", "", true)
	expect(before, "", false)
	publish("a")
	publish("b")
	publish("c")
	expect("", "a b c", true)
	expect(ids[0], "b c", true)
	expect(ids[2], "", true)
	expect(before, "a b c", false)
	publish("d") // a makes room
	expect("", "b c d", false)
	expect(ids[0], "b c d", true)
	publish("e") // and b
	expect(ids[0], "c d e", false)
	expect(ids[1], "c d e", true)
	expect(ids[4], "", true)
	expect("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "c d e", false)
	expect("not an id", "c d e", false)
	expect("zebra", "c d e", false)
}

// TestFeedListsAreTheirReaders checks that a list isn't changed by what comes
// after it.
func TestFeedListsAreTheirReaders(t *testing.T) {
	feed := events.NewFeed(2)
	feed.Publish(event("a"))
	feed.Publish(event("b"))
	list, _, _ := feed.Since("")
	for range 5 {
		feed.Publish(event("later"))
	}
	if got := sentences(list); got != "a b" {
		t.Errorf("the list has become %q", got)
	}
	list[0].Sentence = "mine"
	if again, _, _ := feed.Since(""); sentences(again) != "later later" {
		t.Errorf("a reader changed the memory: %q", sentences(again))
	}
}

func TestFeedIDsRise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still but for the sleep
		feed := events.NewFeed(1)
		last := ""
		for i := range 2000 {
			if i == 1000 {
				time.Sleep(time.Second)
			}
			id := feed.Publish(event("a")).ID
			parsed, err := ulid.ParseStrict(id)
			if err != nil || id != parsed.String() {
				t.Fatalf("%q isn't a ULID: %v", id, err)
			}
			if got := ulid.Time(parsed.Time()); !got.Equal(time.Now()) {
				t.Fatalf("%s is of %v at %v", id, got, time.Now())
			}
			if id <= last {
				t.Fatalf("%s came after %s", id, last)
			}
			last = id
		}
	})
}

// TestFeedReadersMissNothing has readers that begin at any moment and go on
// from the last ID they saw, or from none.
func TestFeedReadersMissNothing(t *testing.T) {
	const total, readers = 500, 4
	feed := events.NewFeed(total)
	var all sync.WaitGroup
	got := make([][]core.Event, readers)
	for r := range readers {
		all.Go(func() {
			id := ""
			for len(got[r]) < total {
				list, complete, more := feed.Since(id)
				if !complete {
					t.Error("the memory doesn't reach back")
					return
				}
				got[r] = append(got[r], list...)
				if len(list) > 0 {
					id = list[len(list)-1].ID
				} else {
					<-more
				}
			}
		})
	}
	for half := range 2 {
		all.Go(func() {
			for i := range total / 2 {
				feed.Publish(event(fmt.Sprint(half, " ", i)))
			}
		})
	}
	all.Wait()
	want, _, _ := feed.Since("")
	for _, list := range got {
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("a reader saw something else (-want +got):\n%s", diff)
		}
	}
}
