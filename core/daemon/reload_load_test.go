package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/testkit"
	"github.com/seed-af7fee88/foreman/plugins/sim"
)

const chatLines = 5

// chatty starts a target whose chats come line by line, so that a reload falls
// between two of them.
func chatty(t *testing.T) string {
	simulated := sim.New(sim.Options{Models: []sim.Model{{Name: "tiny:latest", Size: 1}}, Instant: true})
	simulated.Load("tiny:latest") // else each chat would have foreman look for it
	mux := http.NewServeMux()
	mux.Handle("/", simulated.Handler())
	mux.HandleFunc("POST /api/chat", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for range chatLines {
			_, _ = io.WriteString(w, "{\"done\":false}\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// A crowd asks a daemon for lists and chats all the time.
type crowd struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	mu    sync.Mutex
	asked int
	first error // that a caller got
}

func startCrowd(url string) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{stop: stop}
	for _, ask := range []func(*http.Client) error{
		func(client *http.Client) error { return answered(client.Get(url + "/api/tags")) },
		func(client *http.Client) error { return answered(client.Get(url + "/api/ps")) },
		func(client *http.Client) error { return chatted(client, url) },
		func(client *http.Client) error { return chatted(client, url) },
	} {
		c.done.Go(func() {
			client := &http.Client{Transport: new(http.Transport)}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				err := ask(client)
				c.mu.Lock()
				c.asked++
				if c.first == nil {
					c.first = err
				}
				c.mu.Unlock()
			}
		})
	}
	return c
}

func chatted(client *http.Client, url string) error {
	return answered(client.Post(url+"/api/chat", "application/json", strings.NewReader(`{"model":"tiny"}`)))
}

// answered wants a whole answer, of a chat all lines.
func answered(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch chat := resp.Request.URL.Path == "/api/chat"; {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", resp.Request.URL.Path, resp.Status, body)
	case chat && bytes.Count(body, []byte("\n")) != chatLines:
		return fmt.Errorf("a chat was cut: %s", body)
	}
	return nil
}

// Nobody notices a reload, and none leaves anything behind.
func TestReloadsUnderLoad(t *testing.T) {
	url := chatty(t)
	l := reloadable(t, "[target]\nurl = %q\n", url)
	l.await("a first poll", func(h api.Health) bool { return h.Status == core.Healthy })
	reload := func(n int) {
		t.Helper()
		interval := time.Duration(2+n%2) * time.Second
		text := fmt.Sprintf("[target]\nurl = %q\ntoken = \"token-%d\"\n[poll]\ninterval = %q\n", url, n/20%2, interval)
		if n/25%2 == 1 { // between two changes of the token, which restart the other plugin
			text += "[notify.here]\ntype = \"log\"\n"
		}
		l.write("%s", text)
		l.again <- os.Interrupt // sooner than the file is found to have changed
		l.await(fmt.Sprintf("reload %d", n), func(h api.Health) bool { return h.PollInterval == interval.Seconds() })
	}
	reload(1)
	const processes = 1 // the backend plugin
	testkit.Await(t, 10*time.Second, "the plugin before has ended", func() error {
		if is := len(plugins(t)); is != processes {
			return fmt.Errorf("%d plugins run", is)
		}
		return nil
	})
	goroutines := runtime.NumGoroutine()

	callers := startCrowd(l.URL())
	const reloads = 100
	for n := range reloads {
		reload(2 + n)
	}
	callers.stop()
	callers.done.Wait()
	if callers.first != nil {
		t.Errorf("a caller noticed: %v", callers.first)
	}
	if callers.asked < reloads {
		t.Errorf("only %d requests were made", callers.asked)
	}
	reload(reloads + 3)
	reload(0) // another backend plugin, and no notifier: foreman gives up its connections to the target
	testkit.Await(t, 10*time.Second, "all is as before", func() error {
		if is := len(plugins(t)); is != processes {
			return fmt.Errorf("%d plugins run, not %d", is, processes)
		}
		if is := runtime.NumGoroutine(); is > goroutines {
			return fmt.Errorf("%d goroutines, not %d:\n%s", is, goroutines, allStacks())
		}
		return nil
	})
}

func allStacks() []byte {
	stacks := make([]byte, 1<<20)
	return stacks[:runtime.Stack(stacks, true)]
}
