package host

import "sync"

// calls counts the calls in flight of a process, so that one that is replaced
// may finish them.
type calls struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // nil until the process is replaced; closed once n is 0
}

// begin reports whether the process still takes calls. One that does is told
// of the call's end.
func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle != nil {
		return false
	}
	c.n++
	return true
}

func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.idle != nil {
		close(c.idle)
	}
}

// close lets no call begin any more. It is called once. What it returns is
// closed once the last has ended.
func (c *calls) close() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = make(chan struct{})
	if c.n == 0 {
		close(c.idle)
	}
	return c.idle
}
