package plugintest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core"
	"github.com/seed-af7fee88/foreman/core/plugin"
	"github.com/seed-af7fee88/foreman/core/plugin/plugintest"
)

// A courier sends each event to an address and waits for one byte in return.
// Its fault is what a careless author would have left out.
type courier struct {
	fault   string
	address string
}

// couriers are the faults, each with the test that must find it.
var couriers = map[string]string{
	"lax":                 "in_process/refuses_bad_settings",
	"curt":                "in_process/refuses_bad_settings",
	"picky":               "in_process/takes_every_type_of_event",
	"ashamed of a lama":   "in_process/takes_what_is_hard_to_pass",
	"of small messages":   "in_process/takes_what_is_hard_to_pass",
	"bored":               "in_process/takes_an_event_twice",
	"alone":               "in_process/takes_concurrent_calls",
	"without end":         "in_process/gives_up_a_silent_destination/in_time",
	"deaf to cancel":      "in_process/gives_up_a_silent_destination/when_it_is_canceled",
	"dropping":            "in_process/gives_up_a_silent_destination/in_time",
	"content":             "in_process/tells_a_failure",
	"of many lines":       "in_process/tells_a_failure",
	"loud":                "as_a_process/over_the_wire/takes_every_type_of_event",
	"killed by a signal":  "as_a_process/serves_until_foreman_is_gone",
	"killed by a panic":   "as_a_process/outlives_a_bad_call",
	"run by hand":         "as_a_process/started_by_hand",
	"lost by hand":        "as_a_process/started_by_hand",
	"deaf from the start": "in_process/takes_every_type_of_event",
	"there for ever":      "as_a_process/serves_until_foreman_is_gone",
	"gone with its first": "in_process/obeys_a_context_that_ended",
}

func (c *courier) Configure(_ context.Context, settings json.RawMessage) error {
	if c.fault == "deaf from the start" {
		select {}
	}
	d := json.NewDecoder(bytes.NewReader(settings))
	if c.fault != "lax" {
		d.DisallowUnknownFields()
	}
	var read struct{ Address string }
	if err := d.Decode(&read); err != nil {
		if c.fault == "curt" {
			return errors.New("no")
		}
		return fmt.Errorf("read the settings: %w", err)
	}
	c.address = read.Address
	if c.fault == "killed by a signal" {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		go func() { <-signals; os.Exit(1) }()
	}
	return nil
}

func (c *courier) Notify(ctx context.Context, event core.Event) error {
	var err error
	switch c.fault {
	case "without end":
		err = c.send(context.Background(), event)
	case "deaf to cancel":
		deadline, hasDeadline := ctx.Deadline()
		if !hasDeadline {
			deadline = time.Now().Add(4 * time.Second)
		}
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		err = c.send(ctx, event)
	default:
		err = c.send(ctx, event)
	}
	return c.spoil(ctx, event, err)
}

func (c *courier) send(ctx context.Context, event core.Event) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(event); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return cmp.Or(ctx.Err(), err)
}

// seen is of the faults that need a memory.
var seen = make(chan struct{}, 1)

// spoil is the courier's fault, once it has delivered or failed with err.
func (c *courier) spoil(ctx context.Context, event core.Event, err error) error {
	switch c.fault {
	case "picky":
		if !slices.Contains(core.EventTypes(), event.Type) {
			return fmt.Errorf("unknown type %s", event.Type)
		}
	case "ashamed of a lama":
		if strings.Contains(event.Sentence, "🦙") {
			return errors.New("want plain text")
		}
	case "of small messages":
		if len(event.Data) > 64<<10 {
			return errors.New("message too long")
		}
	case "bored":
		select {
		case seen <- struct{}{}:
		default:
			return errors.New("this is known already")
		}
	case "alone":
		select {
		case seen <- struct{}{}:
			defer func() { <-seen }()
			time.Sleep(50 * time.Millisecond)
		default:
			return errors.New("one at a time")
		}
	case "dropping":
		if err != nil {
			return fmt.Errorf("%w: %w", core.ErrUndeliverable, err)
		}
	case "content":
		return nil
	case "of many lines":
		if err != nil {
			return fmt.Errorf("failed:\n%w", err)
		}
	case "gone with its first":
		if ctx.Err() != nil {
			c.address = "127.0.0.1:1"
		}
	case "loud":
		_, _ = os.NewFile(9, "the first stdout").WriteString("delivered\n")
	case "killed by a panic":
		if event.Type == "" {
			os.Exit(2)
		}
	}
	return err
}

// serveNotifier is the courier's main function.
func serveNotifier(fault string) {
	if err := syscall.Dup2(1, 9); err != nil { // go-plugin takes os.Stdout
		panic(err)
	}
	switch fault {
	case "run by hand":
		os.Setenv(plugin.Handshake.MagicCookieKey, plugin.Handshake.MagicCookieValue)
		os.Setenv("PLUGIN_UNIX_SOCKET_DIR", os.TempDir())
		time.AfterFunc(10*time.Second, func() { os.Exit(0) })
	case "lost by hand": // it asks for no cookie, and fails for want of all else
		if os.Getenv("PLUGIN_UNIX_SOCKET_DIR") == "" || os.Getenv(plugin.EnvLifeline) == "" {
			panic("there is no place for a socket")
		}
		os.Setenv(plugin.Handshake.MagicCookieKey, plugin.Handshake.MagicCookieValue)
	case "there for ever":
		os.Unsetenv(plugin.EnvLifeline)
	}
	plugin.ServeNotifier(&courier{fault: fault})
}

// destination takes events where answers is true, and is silent otherwise.
func destination(t *testing.T, answers bool) (settings json.RawMessage) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	over := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-over
		for _, conn := range conns {
			conn.Close()
		}
	})
	go func() {
		defer close(over)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !answers {
				conns = append(conns, conn)
				continue
			}
			var event core.Event
			if json.NewDecoder(conn).Decode(&event) == nil {
				_, _ = conn.Write([]byte("."))
			}
			conn.Close()
		}
	}()
	return json.RawMessage(fmt.Sprintf(`{"address":%q}`, listener.Addr()))
}

func testCourier(t *testing.T, fault string) {
	settings := plugintest.NotifierSettings{
		Good: destination(t, true), Silent: destination(t, false), Failing: json.RawMessage(`{"address":"127.0.0.1:1"}`),
	}
	t.Run("in process", func(t *testing.T) {
		plugintest.Notifier(t, settings, func(*testing.T) core.Notifier {
			select {
			case <-seen:
			default:
			}
			return &courier{fault: fault}
		})
	})
	t.Run("as a process", func(t *testing.T) {
		plugintest.NotifierProcess(t, settings, "/usr/bin/env",
			"GORACE=atexit_sleep_ms=0", os.Args[0], "plugin", plugin.KindNotifier, fault)
	})
}

func TestNotifier(t *testing.T) { testCourier(t, os.Getenv("TEST_COURIER_FAULT")) }

// A kit that finds nothing is worth nothing.
func TestKitFindsFaults(t *testing.T) {
	for fault, in := range couriers {
		t.Run("courier "+fault, func(t *testing.T) { findsFault(t, "TestNotifier", in, "TEST_COURIER_FAULT="+fault) })
	}
	for fault, in := range clerks {
		t.Run("clerk "+fault, func(t *testing.T) { findsFault(t, "TestBackend", in, "TEST_CLERK_FAULT="+fault) })
	}
}

func findsFault(t *testing.T, test, in, fault string) {
	t.Parallel()
	run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$/^"+in, "-test.timeout=1m")
	run.Env = append(os.Environ(), fault)
	out, err := run.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL: "+test+"/"+in+" (") {
		t.Errorf("%s: not found by %s: %v\n%s", fault, in, err, out)
	}
}
