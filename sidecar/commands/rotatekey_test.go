package commands

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A task waits in an encrypted store while its key is changed.
func TestRotateKey(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	open := make(chan struct{})
	backend := newRecorder(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-open:
		case <-r.Context().Done():
		}
	})
	receiver := newRecorder(t, nil)
	for name, key := range map[string]string{"old": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "new": "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(key), 0o600))
	}
	config := func(key string) string {
		return caddyfile(t, dir, addr, backend.addr(), strings.Replace(site, "store badger DIR", "store badger DIR {\n\t\t\tencryption_key {file."+filepath.Join(dir, key)+"}\n\t\t}", 1))
	}
	rotate := func(from, to string) (string, error) {
		cmd := exec.Command(os.Args[0], "rotate-key", "--data", filepath.Join(dir, "tasks"),
			"--old-key", "{file."+filepath.Join(dir, from)+"}", "--new-key", "{file."+filepath.Join(dir, to)+"}")
		cmd.Env = append(os.Environ(), "RINGBACK_TEST_MAIN=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	p := start(t, dir, "run", "--config", config("old"))
	p.listening(addr)
	out, err := rotate("old", "new")
	require.Error(t, err, "while it is open")
	require.Contains(t, out, "in use")

	a, code, err := submit(t.Context(), addr, "kept", "http://"+receiver.addr()+"/?n=kept", strings.NewReader(strings.Repeat("large ", 50_000)))
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, code)
	p.kill()

	out, err = rotate("new", "old")
	require.Error(t, err, "with the wrong key")
	require.NotContains(t, out, "goroutine")
	out, err = rotate("old", "new")
	require.NoError(t, err, out)

	close(open)
	p = start(t, dir, "run", "--config", config("new"))
	p.listening(addr)
	eventually(t, "the callback has come", func() bool { return len(receiver.times("kept")) == 1 })
	require.Equal(t, "completed", status(t, addr, a.TaskID)["status"])
	p.stop()
}
