//go:build unix

package testkit

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// A process is a child with a process group of its own, which ends as a whole.
type process struct {
	cmd   *exec.Cmd
	leash *exec.Cmd
	done  chan struct{}    // closed once the child has ended
	state *os.ProcessState // readable after done
}

// startProcess starts cmd with both its outputs appended to a file: a pipe
// would keep Wait waiting for grandchildren.
func startProcess(cmd *exec.Cmd, output string) (*process, error) {
	log, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	if p.leash, err = startLeash(`kill -s KILL -- "-$1"`, strconv.Itoa(cmd.Process.Pid)); err != nil {
		_ = p.signal(syscall.SIGKILL)
		_ = cmd.Wait()
		return nil, err
	}
	go p.wait()
	return p, nil
}

// startLeash starts a shell that runs a command on argument, its $1, once
// this process is gone, however it went: a test that is interrupted or times
// out runs no cleanup.
func startLeash(command, argument string) (*exec.Cmd, error) {
	sh := exec.Command("/bin/sh", "-c", "read -r _; "+command, "leash", argument)
	if _, err := sh.StdinPipe(); err != nil { // it ends with us
		return nil, err
	}
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C isn't for it
	return sh, sh.Start()
}

// wait reaps the child and what is left of its group.
func (p *process) wait() {
	_ = p.cmd.Wait() // how it ended is in its state
	_ = p.signal(syscall.SIGKILL)
	_ = p.leash.Process.Kill()
	_ = p.leash.Wait()
	p.state = p.cmd.ProcessState
	close(p.done)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends sig to the whole group.
func (p *process) signal(sig syscall.Signal) error { return syscall.Kill(-p.pid(), sig) }

// kill ends the group and returns once it is gone.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.done
}
