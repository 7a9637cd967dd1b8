package main

import (
	"fmt"
	"io"
	"net/rpc"
	"os"
	"path/filepath"
	"runtime/debug"
)

// Roles are the benchmark's own parts, each a process of its own, as it would
// be a machine of its own: this binary, started with -role. The benchmark
// tells them what to do with net/rpc over their standard input and output.
func newRole(name string) (any, error) {
	switch name {
	case "load":
		return new(Load), nil
	case "backend":
		return newBackend()
	case "receiver":
		return newReceiver()
	case "committer":
		return new(Committer), nil
	}
	return nil, fmt.Errorf("no role is called %q", name)
}

// serveRole runs a role until the benchmark is gone.
func serveRole(name string) error {
	role, err := newRole(name)
	if err != nil {
		return err
	}
	if name != "committer" {
		// It shares the machine with what is measured, and should cost little.
		debug.SetGCPercent(800)
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Role", role); err != nil {
		return err
	}
	server.ServeConn(duplex{os.Stdin, os.Stdout})
	return nil
}

// duplex is a pair of pipes as one connection.
type duplex struct {
	io.ReadCloser
	w io.WriteCloser
}

func (d duplex) Write(p []byte) (int, error) { return d.w.Write(p) }

// Close closes both pipes.
func (d duplex) Close() error {
	d.w.Close()
	return d.ReadCloser.Close()
}

// peer is a role's process as the benchmark sees it.
type peer struct {
	*process
	client *rpc.Client
}

// None is for calls without arguments or results.
type None struct{}

func startPeer(role, dir string) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirOut.Close()
	p, err := command{
		name: "the " + role, path: self, args: []string{"-role", role}, dir: dir,
		stdin: theirIn, stdout: theirOut,
	}.start()
	if err != nil {
		return nil, err
	}
	return &peer{p, rpc.NewClient(duplex{out, in})}, nil
}

// call has the role do something.
func (p *peer) call(method string, args, result any) error {
	if err := p.client.Call("Role."+method, args, result); err != nil {
		return fmt.Errorf("%s: %s: %w%s", p.name, method, err, p.told())
	}
	return nil
}

// close ends the role's process.
func (p *peer) close() {
	p.client.Close()
	<-p.done
	os.Remove(filepath.Clean(p.log))
}
