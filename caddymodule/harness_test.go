package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
)

// patience is how long tests wait for what must come.
const patience = 15 * time.Second

// adapt makes JSON of a Caddyfile.
func adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// validate is what `caddy validate` does.
func validate(caddyfile string) error {
	config, err := adapt(caddyfile)
	if err != nil {
		return err
	}
	var cfg caddy.Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		return err
	}
	return caddy.Validate(&cfg)
}

// global is the global options block of tests. Tasks are kept in memory unless
// the options of the callback app say otherwise.
func global(app ...string) string {
	if len(app) == 0 {
		app = []string{"store memory"}
	}
	return `{
		admin off
		persist_config off
		auto_https off
		skip_install_trust
		grace_period 1s
		log {
			level ERROR
		}
		callback {
			` + strings.Join(app, "\n\t\t\t") + `
		}
	}
	`
}

// load runs a Caddyfile, or reloads it.
func load(t *testing.T, caddyfile string) {
	t.Helper()
	config, err := adapt(caddyfile)
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	settle(t)
}

// settle waits until no configuration but the running one listens. Caddy closes
// the listeners of the one before, and of one that failed to start, a moment
// after that: a connection that is made to one of these then is reset.
func settle(t *testing.T) {
	t.Helper()
	client.CloseIdleConnections()
	require.Eventually(t, func() bool {
		seen := make(map[netip.AddrPort]bool)
		for _, address := range listeningSockets() {
			if seen[address] {
				return false
			}
			seen[address] = true
		}
		return true
	}, patience, time.Millisecond)
}

// serve runs a Caddyfile until the test is over. In it, ADDR is an address to
// listen on, which is returned.
func serve(t *testing.T, caddyfile string) string {
	t.Helper()
	addr := freeAddr(t)
	load(t, strings.ReplaceAll(caddyfile, "ADDR", addr))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	return addr
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// seen is a request as a server saw it.
type seen struct {
	Name     string
	Method   string
	URI      string
	Host     string
	Header   http.Header
	Trailer  http.Header
	Body     string
	Length   int64
	Transfer []string
}

func see(name string, r *http.Request) seen {
	body, _ := io.ReadAll(r.Body)
	return seen{name, r.Method, r.RequestURI, r.Host, r.Header, r.Trailer, string(body), r.ContentLength, r.TransferEncoding}
}

func newBackend(t *testing.T, name string, answer func(http.ResponseWriter, *http.Request)) *backendServer {
	t.Helper()
	b := &backendServer{name: name, saw: make(chan seen, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.saw <- see(name, r)
		if answer != nil {
			answer(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "answer of %s", name)
	}))
	t.Cleanup(server.Close)
	b.addr = server.Listener.Addr().String()
	return b
}

// newBackendFunc is a backend that only answers.
func newBackendFunc(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// backendServer is a server that keeps what it saw.
type backendServer struct {
	name string
	addr string
	saw  chan seen
}

func (b *backendServer) next(t *testing.T) seen {
	t.Helper()
	select {
	case s := <-b.saw:
		return s
	case <-time.After(patience):
		t.Fatalf("backend %s was not called", b.name)
		return seen{}
	}
}

func (b *backendServer) idle(t *testing.T) {
	t.Helper()
	select {
	case s := <-b.saw:
		t.Fatalf("backend %s was called: %+v", b.name, s)
	default:
	}
}

// receiver is a server that callbacks come to.
type receiver struct {
	url  string
	came chan seen
}

// elsewhere are the addresses of receivers, which are in this process but must
// not be taken for listeners of Caddy.
var elsewhere sync.Map

func init() {
	sockets = func() (own []netip.AddrPort) {
		for _, address := range listeningSockets() {
			if _, ok := elsewhere.Load(address); !ok {
				own = append(own, address)
			}
		}
		return own
	}
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{came: make(chan seen, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.came <- see("receiver", req)
	}))
	t.Cleanup(server.Close)
	elsewhere.Store(netip.MustParseAddrPort(server.Listener.Addr().String()), true)
	r.url = server.URL + "/hook"
	return r
}

func (r *receiver) next(t *testing.T) seen {
	t.Helper()
	select {
	case s := <-r.came:
		return s
	case <-time.After(patience):
		t.Fatal("no callback came")
		return seen{}
	}
}

// reply is an answer that was read.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &v), r.body)
	return v
}

// client makes requests as they are, and follows nothing.
var client = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

// request makes a request; headers are name, value, name, value …
func request(t *testing.T, method, url, body string, header ...string) reply {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, url, reader)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Add(header[i], header[i+1])
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) reply {
	t.Helper()
	response, err := client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return reply{response.StatusCode, response.Header, string(body)}
}

// raw writes bytes to a connection and returns all that comes back until the
// server closes it or nothing has come for a while.
func raw(t *testing.T, addr string, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	var out bytes.Buffer
	io.Copy(&out, conn)
	return out.String()
}

func stopCaddy(t *testing.T) {
	t.Helper()
	require.NoError(t, caddy.Stop())
}

// currentApp is the callback app of the running configuration.
func currentApp(t *testing.T) *App {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("callback")
	require.NoError(t, err)
	return app.(*App)
}
