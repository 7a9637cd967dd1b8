package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long tests wait for what must come.
const patience = 60 * time.Second

// TestMain lets this test binary be ringback itself, so that tests can start
// the real program as a process, race detector included, and kill it.
func TestMain(m *testing.M) {
	if os.Getenv("RINGBACK_TEST_MAIN") != "" {
		Main()
		return
	}
	os.Exit(m.Run())
}

// process is a running ringback.
type process struct {
	*testing.T
	cmd    *exec.Cmd
	log    *bytes.Buffer
	exited chan struct{}
}

// start runs ringback with args, as the test binary.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return startBinary(t, os.Args[0], dir, args...)
}

func startBinary(t *testing.T, binary, dir string, args ...string) *process {
	t.Helper()
	p := &process{T: t, cmd: exec.Command(binary, args...), log: new(bytes.Buffer), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "RINGBACK_TEST_MAIN=1", "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	require.NoError(t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			log := p.log.String()
			t.Logf("log of ringback:\n%s", log[max(0, len(log)-8000):])
		}
	})
	return p
}

// kill ends the process without giving it a chance.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// stop asks the process to end and waits until it has.
func (p *process) stop() {
	p.Helper()
	require.NoError(p, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.Fatal("ringback did not stop")
	}
	require.Zero(p, p.cmd.ProcessState.ExitCode())
}

// listening waits until the process accepts connections on an address.
func (p *process) listening(addr string) {
	p.Helper()
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-p.exited:
			p.Fatalf("ringback ended before it listened:\n%s", p.log)
		case <-time.After(10 * time.Millisecond):
		}
		require.True(p, time.Now().Before(deadline), "ringback does not listen on %s:\n%s", addr, p.log)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// caddyfile writes a configuration, in which ADDR, BACKEND and DIR are
// replaced, and returns its path.
func caddyfile(t *testing.T, dir, addr, backend, text string) string {
	t.Helper()
	text = strings.NewReplacer("ADDR", addr, "BACKEND", backend, "DIR", filepath.Join(dir, "tasks")).Replace(text)
	path := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// site is the configuration that most tests use.
const site = `{
	admin off
	persist_config off
	auto_https off
	grace_period 5s
	log {
		level INFO
	}
	callback {
		store badger DIR
	}
}
http://ADDR {
	callback {
		allow 127.0.0.0/8
		backoff 50ms
		retry_schedule 0s 100ms 200ms 400ms 1s 2s 4s
	}
	reverse_proxy BACKEND
}
`

// recorder is a backend or a receiver that records every request, by a name
// that the request carries in its URL.
type recorder struct {
	*httptest.Server
	mu     sync.Mutex
	seen   map[string][]time.Time
	answer http.HandlerFunc
}

func newRecorder(t *testing.T, answer http.HandlerFunc) *recorder {
	r := &recorder{seen: make(map[string][]time.Time), answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return // the sender broke off: it has not been told anything
		}
		r.mu.Lock()
		name := req.URL.Query().Get("n")
		r.seen[name] = append(r.seen[name], time.Now())
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, req)
		}
	}))
	t.Cleanup(func() {
		r.Server.CloseClientConnections()
		r.Server.Close()
	})
	return r
}

func (r *recorder) addr() string { return r.Listener.Addr().String() }

func (r *recorder) times(name string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[name]
}

func (r *recorder) names() map[string][]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string][]time.Time, len(r.seen))
	for name, times := range r.seen {
		all[name] = times
	}
	return all
}

// accepted is the body of a 202.
type accepted struct {
	TaskID    string `json:"task_id"`
	StatusURL string `json:"status_url"`
	ResultURL string `json:"result_url"`
}

// submit sends a request that is to become a task; ok says that a 202 came back.
func submit(ctx context.Context, addr, name, callback string, body io.Reader) (a accepted, status int, err error) {
	url := fmt.Sprintf("http://%s/work?n=%s", addr, name)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return a, 0, err
	}
	req.Header.Set("Callback-Url", callback)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		return a, resp.StatusCode, err
	}
	return a, resp.StatusCode, json.Unmarshal(answer, &a)
}

// status reads a task as its client does.
func status(t *testing.T, addr, id string) map[string]any {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/.callback/tasks/" + id)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var task map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&task))
	return task
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		require.True(t, time.Now().Before(deadline), "waited in vain until %s", what)
		time.Sleep(10 * time.Millisecond)
	}
}

// What the sidecar logs has no secrets of requests, whatever it logs.
func TestSidecarLogsNoSecrets(t *testing.T) {
	backend, receiver := newRecorder(t, nil), newRecorder(t, nil)
	dir, addr := t.TempDir(), freeAddr(t)
	p := start(t, dir, "sidecar", "--from", addr, "--to", backend.addr(), "--allow", "127.0.0.1", "--access-log", "--debug")
	p.listening(addr)
	hook := "http://" + receiver.addr() + "/?n=x%26token=HIDDEN"
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/work?callback_url="+hook, nil)
	require.NoError(t, err)
	req.Header.Set("Callback-Header-Authorization", "Bearer HIDDEN")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	status(t, addr, resp.Header.Get("Callback-Task-Id"))
	eventually(t, "the callback has come", func() bool { return len(receiver.times("x")) == 1 })
	p.stop()
	log := p.log.String()
	require.NotContains(t, log, "HIDDEN")
	require.Contains(t, log, "handled request")
	require.Contains(t, log, "upstream roundtrip")
	require.NotContains(t, log, "/.callback/tasks/"+resp.Header.Get("Callback-Task-Id"))
}
