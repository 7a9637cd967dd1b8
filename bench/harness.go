package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bench is one run of the benchmark: its parts, and where everything is.
type bench struct {
	options
	ctx    context.Context
	source string // the module's folder
	work   string // everything that is written; removed in the end

	load     *peer
	backend  *peer
	receiver *peer

	backendAddr  string
	receiverAddr string
	asynqBinary  string // empty: not to be had
	redisBinary  string

	report *report
}

// newBench builds the contestants and starts the benchmark's own parts.
func newBench(ctx context.Context, o options) (_ *bench, err error) {
	disk, err := onDisk(o.dir)
	if err != nil {
		return nil, err
	}
	if !disk {
		return nil, fmt.Errorf("%s is in memory, where a sync costs nothing: name a folder on a disk with -dir", o.dir)
	}
	b := &bench{options: o, ctx: ctx}
	if b.work, err = os.MkdirTemp(o.dir, "ringback-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := b.build(); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		role string
		to   **peer
		addr *string
	}{
		{"load", &b.load, nil},
		{"backend", &b.backend, &b.backendAddr},
		{"receiver", &b.receiver, &b.receiverAddr},
	} {
		if *part.to, err = startPeer(part.role, b.work); err != nil {
			return nil, err
		}
		if part.addr == nil {
			continue
		}
		if err := (*part.to).call("Addr", None{}, part.addr); err != nil {
			return nil, err
		}
	}
	b.report, err = newReport(b)
	return b, err
}

// build builds Ringback, which is also plain Caddy, and the asynq contestant
// if there is a Redis for it.
func (b *bench) build() error {
	source, err := b.goTool("list", "-m", "-f", "{{.Dir}}", "github.com/ringback/ringback")
	if err != nil {
		return err
	}
	b.source = strings.TrimSpace(source)
	if b.binary == "" {
		b.say("building Ringback")
		b.binary = filepath.Join(b.work, "ringback")
		if _, err := b.goTool("build", "-C", b.source, "-o", b.binary, "./sidecar"); err != nil {
			return err
		}
	}
	redis, ok := have("redis-server")
	if !ok {
		b.say("redis-server is not installed: no figures for asynq on Redis")
		return nil
	}
	b.redisBinary, b.asynqBinary = redis, filepath.Join(b.work, "asynq")
	_, err = b.goTool("build", "-C", filepath.Join(b.source, "bench", "asynq"), "-o", b.asynqBinary, ".")
	return err
}

func (b *bench) goTool(args ...string) (string, error) {
	out, err := exec.CommandContext(b.ctx, "go", args...).Output()
	if exit, ok := err.(*exec.ExitError); ok {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

func (b *bench) close() {
	for _, p := range []*peer{b.load, b.backend, b.receiver} {
		if p != nil {
			p.close()
		}
	}
	if err := os.RemoveAll(b.work); err != nil {
		b.say("%v", err)
	}
}

// say tells whoever waits how it goes.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// size is n, or less of it with -quick, and more when profiles are made.
func (b *bench) size(n int) int {
	switch {
	case b.profile != "":
		return 5 * n
	case b.quick:
		return n / 4
	default:
		return n
	}
}

// expect has the backend and the receiver count the numbers below n.
func (b *bench) expect(n int, times bool) error {
	if err := b.backend.call("Expect", Expect{n, times}, &None{}); err != nil {
		return err
	}
	return b.receiver.call("Expect", Expect{n, times}, &None{})
}

// patience is how long nothing may come before what is missing counts as lost.
const patience = 20 * time.Second

// delivered waits for the callbacks of n tasks. One that is missing, or came
// twice, is an error: the figures are then not worth having.
func (b *bench) delivered(n int) (t Tally, err error) {
	if err := b.receiver.call("Wait", Await{n, patience}, &t); err != nil {
		return t, err
	}
	if lost := n - t.Distinct; lost > 0 {
		return t, fmt.Errorf("%d of %d accepted tasks have no callback", lost, n)
	}
	if t.Repeated > 0 {
		return t, fmt.Errorf("%d callbacks of %d tasks came more than once, though nothing failed", t.Repeated, n)
	}
	return t, nil
}

// answered checks that the backend has had n calls, each once.
func (b *bench) answered(n int) error {
	var t Tally
	if err := b.backend.call("Wait", Await{n, patience}, &t); err != nil {
		return err
	}
	if t.Distinct != n || t.Repeated > 0 {
		return fmt.Errorf("the backend had %d of %d calls, and %d more than once", t.Distinct, n, t.Repeated)
	}
	return nil
}

// send has the load generator do its work.
func (b *bench) send(w Work) (s Sent, err error) {
	if err := b.ctx.Err(); err != nil {
		return s, err
	}
	return s, b.load.call("Run", w, &s)
}
