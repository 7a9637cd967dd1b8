package commands

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// build makes the real binary, for what the race detector would distort.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "ringback")
	out, err := exec.Command("go", "build", "-o", binary, "../../cmd/ringback").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// peakMiB is the most memory a process ever had resident, in MiB.
func (p *process) peakMiB() int {
	p.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p, err)
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	require.NotNil(p, m)
	kib, err := strconv.Atoi(string(m[1]))
	require.NoError(p, err)
	return kib >> 10
}

// noise is a body of a size, the same each time.
type noise struct{ at, size int64 }

var block = func() []byte {
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i * 2654435761 >> 13)
	}
	return b
}()

func (n *noise) Read(p []byte) (int, error) {
	if n.at == n.size {
		return 0, io.EOF
	}
	got := copy(p[:min(int64(len(p)), n.size-n.at)], block[n.at%int64(len(block)):])
	n.at += int64(got)
	return got, nil
}

func digest(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil)) }

// A gigabyte up and a gigabyte down, with the process under 200 MiB.
func TestLargeBodiesNeedLittleMemory(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	want := sha256.New()
	_, err := io.Copy(want, &noise{size: size})
	require.NoError(t, err)

	dir, addr := t.TempDir(), freeAddr(t)
	asked := make(chan string, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		io.Copy(h, r.Body)
		asked <- digest(h)
		io.Copy(w, &noise{size: size})
	}))
	defer backend.Close()
	told := make(chan string, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err == nil {
			told <- digest(h)
		}
	}))
	defer receiver.Close()

	p := startBinary(t, build(t), dir, "run", "--config", caddyfile(t, dir, addr, backend.Listener.Addr().String(), site))
	p.listening(addr)
	a, code, err := submit(t.Context(), addr, "large", "http://"+receiver.Listener.Addr().String(), io.MultiReader(&noise{size: size}))
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, code)
	for _, c := range []chan string{asked, told} {
		select {
		case got := <-c:
			require.Equal(t, digest(want), got)
		case <-time.After(2 * patience):
			t.Fatal("the body did not arrive")
		}
	}
	resp, err := http.Get("http://" + addr + a.ResultURL)
	require.NoError(t, err)
	defer resp.Body.Close()
	h := sha256.New()
	_, err = io.Copy(h, resp.Body)
	require.NoError(t, err)
	require.Equal(t, digest(want), digest(h))
	require.Less(t, p.peakMiB(), 200)
	t.Logf("peak %d MiB", p.peakMiB())
	p.stop()
}
