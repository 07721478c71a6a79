package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// hasProc reports whether this is a system that tells of its processes there.
func hasProc() bool {
	_, err := os.Stat("/proc/self/smaps_rollup")
	return err == nil
}

// childrenOf are the processes that pid has started.
func childrenOf(pid int) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, path := range paths {
		child, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(path, "stat"))
		if err != nil { // it has just ended
			continue
		}
		// After the name, which may hold anything, come state and parent.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if fields[1] == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	return children, nil
}

// rss is the resident memory of the processes, added up.
func rss(pids ...int) (size, error) { return memory("status", "VmRSS:", pids) }

// pss is the same with what they share counted once.
func pss(pids ...int) (size, error) { return memory("smaps_rollup", "Pss:", pids) }

func memory(file, key string, pids []int) (size, error) {
	var total size
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return 0, err
		}
		_, rest, found := strings.Cut(string(text), "\n"+key)
		var kibibytes size
		if _, err := fmt.Sscan(rest, (*int64)(&kibibytes)); !found || err != nil {
			return 0, fmt.Errorf("no %s in %s of %d", key, file, pid)
		}
		total += kibibytes << 10
	}
	return total, nil
}

// cpuTime is the processor time that the threads of the processes have had.
func cpuTime(pids ...int) (time.Duration, error) {
	var total time.Duration
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		if len(threads) == 0 {
			return 0, fmt.Errorf("no processor time of %d in /proc", pid)
		}
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err != nil {
				return 0, err
			}
			var onCPU time.Duration
			if _, err := fmt.Sscan(string(text), (*int64)(&onCPU)); err != nil {
				return 0, err
			}
			total += onCPU
		}
	}
	return total, nil
}
