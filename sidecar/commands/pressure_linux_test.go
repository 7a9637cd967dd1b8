package commands

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A full disk refuses new tasks, keeps the old ones, and goes on by itself
// when there is room.
func TestAFullDiskRefusesAndRecovers(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	disk := filepath.Join(dir, "tasks")
	require.NoError(t, os.Mkdir(disk, 0o700))
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=192m"); err != nil {
		t.Skipf("a small disk needs mount(2): %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	// Something else on the disk, which will be gone later.
	other := filepath.Join(disk, "other")
	require.NoError(t, os.WriteFile(other, make([]byte, 64<<20), 0o600))

	open := make(chan struct{})
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-open:
		case <-r.Context().Done():
		}
	})
	receiver := newRecorder(t, nil)
	text := strings.Replace(site, "store badger DIR", "store badger DIR {\n\t\t\tmin_free 32MiB\n\t\t}", 1)
	p := start(t, dir, "run", "--config", caddyfile(t, dir, addr, backend.addr(), text))
	p.listening(addr)

	promised := make(map[string]string)
	n := 0
	try := func(size int) (int, string) {
		n++
		name := fmt.Sprint("r", n)
		req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/work?n="+name, bytes.NewReader(make([]byte, size)))
		require.NoError(t, err)
		req.Header.Set("Callback-Url", "http://"+receiver.addr()+"/?n="+name)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusAccepted {
			promised[name] = resp.Header.Get("Callback-Task-Id")
		} else {
			require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "%s", body)
			require.NotEmpty(t, resp.Header.Get("Retry-After"))
			require.Contains(t, string(body), "no space left")
		}
		return resp.StatusCode, string(body)
	}
	eventually(t, "the disk is full", func() bool {
		code, _ := try(1 << 20)
		return code == http.StatusServiceUnavailable
	})
	require.NotEmpty(t, promised)
	for _, id := range promised {
		status(t, addr, id) // is there
	}
	require.NoError(t, os.Remove(other))
	eventually(t, "there is room again", func() bool {
		code, _ := try(1 << 20)
		return code == http.StatusAccepted
	})
	close(open)
	eventually(t, "all callbacks have come", func() bool {
		for name := range promised {
			if len(receiver.times(name)) == 0 {
				return false
			}
		}
		return true
	})
	p.stop()
}

// Clients that send a byte now and then, clients that go away before the 202,
// receivers that read or answer a byte at a time or without end: none of them
// hurts others.
func TestSlowAndGonePeersHurtNobody(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "answer") })
	receiver := newRecorder(t, nil)
	p := start(t, dir, "run", "--config", caddyfile(t, dir, addr, backend.addr(), strings.Replace(site, "allow 127.0.0.0/8", "allow 127.0.0.0/8\n\t\tdelivery_timeout 5s", 1)))
	p.listening(addr)

	// Receivers that never end.
	hostile := func(serve func(net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					serve(conn)
				}()
			}
		}()
		return ln.Addr().String()
	}
	reads := hostile(func(c net.Conn) {
		for b := make([]byte, 1); ; time.Sleep(time.Second) {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	})
	floods := hostile(func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
		for {
			if _, err := c.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	headers := hostile(func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for {
			if _, err := io.WriteString(c, "X-More: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
				return
			}
		}
	})
	for _, to := range []string{reads, floods, headers} {
		for range 20 {
			_, code, err := submit(t.Context(), addr, "hostile", "http://"+to+"/", strings.NewReader("x"))
			require.NoError(t, err)
			require.Equal(t, http.StatusAccepted, code)
		}
	}
	// Clients that never end, or go away.
	for i := range 50 {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		fmt.Fprintf(c, "POST /work?n=loris HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\nCallback-Url: http://%s/?n=loris\r\n\r\nstart", addr, receiver.addr())
		if i%2 == 0 {
			c.Close()
		}
	}
	// Everybody else.
	l := newLoad()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	l.run(ctx, 4, addr, receiver.addr()).Wait()
	require.NotEmpty(t, l.promised)
	l.delivered(t, receiver)
	require.Empty(t, receiver.times("loris"), "half a request is no task")
	require.Less(t, p.peakMiB(), 600, "under the race detector")
	p.stop()
}
