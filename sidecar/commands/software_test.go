package commands

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mccutchen/go-httpbin/v2/httpbin"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// The tests in software_*_test.go try Ringback against backends, clients and
// receivers that were made with no thought of it. Those that are not installed
// are skipped.

// softwareSecret signs the callbacks of these tests.
const softwareSecret = "whsec_c29mdHdhcmUgdGhhdCBub2JvZHkgaGVyZSB3cm90ZQ=="

// softwareSite takes plain http with HTTP/2 by prior knowledge, for any host,
// and https at TLS, with a certificate that Caddy makes.
const softwareSite = `{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	grace_period 5s
	servers {
		protocols h1 h2 h2c
	}
	callback {
		store badger DIR
	}
}
(site) {
	callback {
		name software
		allow 127.0.0.0/8
		secret ` + softwareSecret + `
		attempts 3
		backoff 20ms
		retry_schedule 0s 100ms 200ms
	}
	reverse_proxy BACKEND
}
http://ADDR, http://app.example:PORT {
	import site
}
https://TLS {
	tls internal
	import site
}
`

// front is a running ringback between a backend and a receiver.
type front struct {
	*process
	*hooks
	addr string // plain http
	tls  string // https, of localhost
}

func newFront(t *testing.T, backend string) *front {
	t.Helper()
	dir := t.TempDir()
	f := &front{hooks: newHooks(t), addr: freeAddr(t)}
	_, port, err := net.SplitHostPort(f.addr)
	require.NoError(t, err)
	_, tlsPort, err := net.SplitHostPort(freeAddr(t))
	require.NoError(t, err)
	f.tls = "localhost:" + tlsPort
	config := strings.NewReplacer("PORT", port, "TLS", f.tls).Replace(softwareSite)
	f.process = start(t, dir, "run", "--config", caddyfile(t, dir, f.addr, backend, config))
	f.listening(f.addr)
	return f
}

// newHTTPBin starts go-httpbin, and returns its address.
func newHTTPBin(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(httpbin.New(httpbin.WithMaxBodySize(16 << 20)))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// callback is one that a receiver got.
type callback struct {
	header http.Header
	body   []byte
}

// hooks is a receiver that keeps all callbacks, by their path.
type hooks struct {
	receiver *httptest.Server
	mu       sync.Mutex
	got      map[string][]callback
}

func newHooks(t *testing.T) *hooks {
	h := &hooks{got: make(map[string][]callback)}
	h.receiver = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got[r.URL.Path] = append(h.got[r.URL.Path], callback{r.Header, body})
	}))
	t.Cleanup(h.receiver.Close)
	return h
}

// hook is a callback URL for a name that the test has not used before.
func (h *hooks) hook(name string) string { return h.receiver.URL + "/" + name }

// callback waits for the one callback to a hook, which must be signed.
func (h *hooks) callback(t *testing.T, name string) callback {
	t.Helper()
	var got []callback
	eventually(t, "the callback for "+name+" comes", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		got = h.got["/"+name]
		return len(got) > 0
	})
	require.Len(t, got, 1)
	webhook, err := standardwebhooks.NewWebhook(softwareSecret)
	require.NoError(t, err)
	require.NoError(t, webhook.Verify(got[0].body, got[0].header), "the library of Standard Webhooks verifies it")
	return got[0]
}

// requireOutcome checks the headers that tell what the backend answered.
func (c callback) requireOutcome(t *testing.T, status string) {
	t.Helper()
	event := "task.completed"
	if status >= "400" {
		event = "task.failed"
	}
	require.Equal(t, status, c.header.Get(task.HeaderStatus))
	require.Equal(t, event, c.header.Get(task.HeaderEvent))
}

// plainClient shows answers as they are: it follows no redirects and unpacks
// nothing.
var plainClient = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

// exchange sends a request and reads the whole answer.
func exchange(t *testing.T, r *http.Request) (*http.Response, []byte) {
	t.Helper()
	resp, err := plainClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, body
}

func (f *front) request(t *testing.T, method, path string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+f.addr+path, bytes.NewReader(body))
	require.NoError(t, err)
	return r
}

// take sends a request that is to become a task, and returns its id.
func (f *front) take(t *testing.T, r *http.Request) string {
	t.Helper()
	resp, body := exchange(t, r)
	require.Equal(t, http.StatusAccepted, resp.StatusCode, "%s", body)
	return acceptedID(t, body)
}

func acceptedID(t *testing.T, body []byte) string {
	t.Helper()
	var a accepted
	require.NoError(t, json.Unmarshal(body, &a), "%s", body)
	require.NotEmpty(t, a.TaskID)
	return a.TaskID
}

// program starts other software that listens on an address, or skips the test.
func program(t *testing.T, addr, name string, args ...string) {
	t.Helper()
	path := installed(t, name)
	var log bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, log.String())
		}
	})
	eventually(t, name+" listens", func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// installed is the path of a program; the test is skipped if there is none.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func query(u string) string { return url.QueryEscape(u) }
