package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a child of the benchmark.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // file with what it writes to stderr (and stdout, if not taken)
	done chan struct{} // closed when it has ended
}

// command is a process to be started.
type command struct {
	name string
	path string
	args []string
	env  []string // in addition to the benchmark's
	dir  string   // for the log
	// stdin and stdout: nil is none, and the log.
	stdin  io.Reader
	stdout io.Writer
}

func (c command) start() (*process, error) {
	log, err := os.CreateTemp(c.dir, filepath.Base(c.path)+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.path, c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, log, log
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	p := &process{name: c.name, cmd: cmd, log: log.Name(), done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process as a power loss would, for the process.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end, and waits until it has.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(30 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not stop within 30 s%s", p.name, p.told())
	}
}

// told is the end of the process's log, for an error message.
func (p *process) told() string {
	b, err := os.ReadFile(p.log)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return "; it said:\n\t" + strings.Join(lines[max(0, len(lines)-5):], "\n\t")
}

// complaints are the errors in the process's log, if it is Caddy's.
func (p *process) complaints() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	var errors []string
	for line := range strings.Lines(string(b)) {
		for _, sign := range []string{`"level":"error"`, `"level":"panic"`, `"level":"fatal"`, "panic: ", "fatal error: "} {
			if strings.Contains(line, sign) {
				errors = append(errors, strings.TrimSpace(line))
				break
			}
		}
	}
	return strings.Join(errors[:min(len(errors), 5)], "\n")
}

// ready waits until the process answers at an address.
func (p *process) ready(addr string) error {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once%s", p.name, p.told())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not listen on %s after 30 s%s", p.name, addr, p.told())
}

// freeAddr is an address on loopback that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// have says whether a program is installed.
func have(program string) (string, bool) {
	path, err := exec.LookPath(program)
	return path, err == nil || errors.Is(err, exec.ErrDot)
}
