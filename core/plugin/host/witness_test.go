package host_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 10 * time.Second       // for what must come, before a test gives up
	atOnce   = 500 * time.Millisecond // for what takes milliseconds, on a busy machine
)

// A witness hears of each process of a test when it begins, and when it has
// ended, however it did: each holds a connection to the witness.
type witness struct {
	path     string
	births   chan *life
	listener net.Listener
	over     chan struct{} // closed once no process is left
}

// A life is a process that the witness heard of.
type life struct {
	name  string
	pid   int
	began time.Time
	conn  net.Conn
	gone  chan struct{}
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{
		path: listener.Addr().String(), births: make(chan *life, 100),
		listener: listener, over: make(chan struct{}),
	}
	t.Cleanup(w.close)
	go func() {
		defer close(w.over)
		w.accept()
	}()
	return w
}

// close ends what still waits for the test to be over.
func (w *witness) close() {
	w.listener.Close()
	<-w.over
	os.RemoveAll(filepath.Dir(w.path))
}

// accept returns once the listener is closed and every process has ended: it
// closes their connections, on which they wait.
func (w *witness) accept() {
	var conns []net.Conn
	var lives []*life
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			break
		}
		l := &life{began: time.Now(), conn: conn, gone: make(chan struct{})}
		r := bufio.NewReader(conn)
		line, _ := r.ReadString('\n')
		name, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
		l.name = name
		l.pid, _ = strconv.Atoi(pid)
		conns, lives = append(conns, conn), append(lives, l)
		w.births <- l
		go func() {
			defer close(l.gone)
			_, _ = io.Copy(io.Discard, r)
		}()
	}
	for i, conn := range conns {
		conn.Close()
		<-lives[i].gone
	}
}

// next is the next process that begins.
func (w *witness) next(t *testing.T) *life {
	t.Helper()
	select {
	case l := <-w.births:
		return l
	case <-time.After(patience):
		t.Fatal("no process was started")
		return nil
	}
}

// nothingNew fails if a process has begun that the test didn't ask for.
func (w *witness) nothingNew(t *testing.T) {
	t.Helper()
	select {
	case l := <-w.births:
		t.Errorf("%s was started again", l.name)
	default:
	}
}

// ends fails unless the process ends in time.
func (l *life) ends(t *testing.T, within time.Duration) {
	t.Helper()
	began := time.Now()
	select {
	case <-l.gone:
		if took := time.Since(began); took > within {
			t.Errorf("%s ended after %v, want at most %v", l.name, took, within)
		}
	case <-time.After(patience):
		t.Fatalf("%s still runs", l.name)
	}
}

// release lets go on what waits for the test to be over.
func (l *life) release() { l.conn.Close() }

func (l *life) alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return true
	}
}

func (l *life) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(l.pid, sig); err != nil {
		t.Fatal(err)
	}
}

// testify tells the witness of this process. What it returns is to be closed
// by nobody; it reads EOF when the test is over.
func testify(name, path string) net.Conn {
	conn, err := net.Dial("unix", path)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(conn, name, os.Getpid())
	return conn
}
