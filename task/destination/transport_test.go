package destination

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// counter is a listener that counts connections.
type counter struct {
	net.Listener
	accepted atomic.Int32
}

func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.accepted.Add(1)
	}
	return conn, err
}

// receiver is an HTTP server at an address, and its count of connections.
func receiver(t *testing.T, addr string, handler http.HandlerFunc) (*httptest.Server, *counter) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	c := &counter{Listener: l}
	s := httptest.NewUnstartedServer(handler)
	s.Listener.Close()
	s.Listener = c
	t.Cleanup(s.Close)
	return s, c
}

func portOf(s *httptest.Server) string {
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func post(t *testing.T, tr *Transport, url string) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("body"))
	require.NoError(t, err)
	res, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// record notes which addresses pass the guard, and connects to none of them.
func record(tr *Transport) func() []netip.Addr {
	var mu sync.Mutex
	var passed []netip.Addr
	guard := tr.dialer.ControlContext
	tr.dialer.ControlContext = func(ctx context.Context, network, addr string, c syscall.RawConn) error {
		if err := guard(ctx, network, addr, c); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		passed = append(passed, netip.MustParseAddrPort(addr).Addr())
		return errPassed
	}
	return func() []netip.Addr {
		mu.Lock()
		defer mu.Unlock()
		return passed
	}
}

var errPassed = errors.New("passed the guard")

func newTransport(t testing.TB, rules Rules, options Options) *Transport {
	tr := newPolicy(t, rules, options).Transport()
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func ok(http.ResponseWriter, *http.Request) {}

func TestRebinding(t *testing.T) {
	s, c := receiver(t, "127.0.0.1:0", ok)
	s.Start()
	ips := "93.184.215.14"
	server := &nameServer{}
	server.answer = func(string) ([]netip.Addr, dnsmessage.RCode) { return addrs(ips), dnsmessage.RCodeSuccess }
	p := newPolicy(t, Rules{Allow: []string{"http"}}, Options{Resolver: server.resolver()})
	tr := p.Transport()
	defer tr.CloseIdleConnections()

	raw := "http://rebind.test:" + portOf(s) + "/"
	require.NoError(t, check(t, p, raw))
	ips = "127.0.0.1"
	require.NoError(t, check(t, p, raw), "remembered")
	_, err := post(t, tr, raw)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "callbacks to rebind.test:"+portOf(s)+" are not allowed: its name leads to no address that may be called", err.Error())
	require.Contains(t, refused.Hint, "rebind.test leads to 127.0.0.1")
	require.Zero(t, c.accepted.Load())
}

func TestOnlyAllowedAddressesOfANameAreDialled(t *testing.T) {
	server := names(map[string]string{
		"both.test": "10.0.0.1 93.184.215.14 fd00::1 2606:4700::1 ::1", "private.test": "10.0.0.1 fd00::1",
	})
	tr := newTransport(t, Rules{}, Options{Resolver: server.resolver()})
	passed := record(tr)
	_, err := post(t, tr, "https://both.test/")
	require.Error(t, err)
	require.ElementsMatch(t, addrs("93.184.215.14 2606:4700::1"), passed())

	_, err = post(t, tr, "https://private.test/")
	require.ErrorAs(t, err, new(*RefusedError))
	require.Len(t, passed(), 2)
}

// Whether http will do depends on the address, so a name may not use one
// address's permission for another.
func TestPlainHTTPIsJudgedByAddress(t *testing.T) {
	server := names(map[string]string{"both.test": "10.0.0.1 93.184.215.14"})
	tr := newTransport(t, Rules{Allow: []string{"10.0.0.0/8"}}, Options{Resolver: server.resolver()})
	passed := record(tr)
	_, err := post(t, tr, "http://both.test/")
	require.Error(t, err)
	require.Equal(t, addrs("10.0.0.1"), passed())
}

func TestRealConnectionSkipsRefusedAddress(t *testing.T) {
	s, c := receiver(t, "127.0.0.1:0", ok)
	s.Start()
	server := names(map[string]string{"both.test": "127.0.0.2 127.0.0.1"})
	tr := newTransport(t, Rules{Allow: []string{"127.0.0.1"}}, Options{Resolver: server.resolver()})
	status, err := post(t, tr, "http://both.test:"+portOf(s)+"/")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.EqualValues(t, 1, c.accepted.Load())
}

func TestAllowedHostNeverReachesMetadataOrOurselves(t *testing.T) {
	s, c := receiver(t, "127.0.0.1:0", ok)
	s.Start()
	self := netip.MustParseAddrPort(s.Listener.Addr().String())
	server := names(map[string]string{"a.test": "169.254.169.254 fd00:ec2::254", "self.test": "127.0.0.1"})
	options := Options{Resolver: server.resolver(), Own: func() []netip.AddrPort { return []netip.AddrPort{self} }}
	tr := newTransport(t, Rules{Allow: []string{"*.test", "private"}}, options)
	passed := record(tr)
	for _, raw := range []string{"http://a.test/", "http://self.test:" + portOf(s) + "/"} {
		_, err := post(t, tr, raw)
		require.ErrorAs(t, err, new(*RefusedError), raw)
	}
	require.Empty(t, passed())
	require.Zero(t, c.accepted.Load())

	tr = newTransport(t, Rules{Allow: []string{"self.test:" + portOf(s)}}, options)
	_, err := post(t, tr, "http://self.test:"+portOf(s)+"/")
	require.NoError(t, err)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var target *httptest.Server
	s, _ := receiver(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
	})
	target, c := receiver(t, "127.0.0.1:0", ok)
	target.Start()
	s.Start()
	tr := newTransport(t, Rules{Allow: []string{"127.0.0.1"}}, Options{})
	status, err := post(t, tr, s.URL)
	require.NoError(t, err)
	require.Equal(t, 307, status)
	require.Zero(t, c.accepted.Load())
}

func TestHTTPSWithHTTP2AndReuse(t *testing.T) {
	var protos sync.Map
	s, c := receiver(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) { protos.Store(r.Proto, true) })
	s.EnableHTTP2 = true
	s.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	tr := newTransport(t, Rules{Allow: []string{"127.0.0.0/8"}}, Options{TLS: &tls.Config{RootCAs: roots}})
	for range 3 {
		status, err := post(t, tr, s.URL)
		require.NoError(t, err)
		require.Equal(t, 200, status)
	}
	_, h2 := protos.Load("HTTP/2.0")
	require.True(t, h2)
	require.EqualValues(t, 1, c.accepted.Load())
}

func TestBodyIsClosedOnRefusal(t *testing.T) {
	tr := newTransport(t, Rules{}, Options{})
	for _, raw := range []string{"https://10.0.0.1/", "https://user:pass@8.8.8.8/", "gopher://8.8.8.8/"} {
		body := &closer{Reader: strings.NewReader("x")}
		req, err := http.NewRequest(http.MethodPost, raw, body)
		require.NoError(t, err)
		_, err = tr.RoundTrip(req)
		require.Error(t, err)
		require.True(t, body.closed.Load(), raw)
	}
}

type closer struct {
	io.Reader
	closed atomic.Bool
}

func (c *closer) Close() error { c.closed.Store(true); return nil }

func TestCredentialsAreSent(t *testing.T) {
	got := make(chan string, 2)
	s, _ := receiver(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") })
	s.Start()
	tr := newTransport(t, Rules{Allow: []string{"private"}, Credentials: true}, Options{})
	req, err := http.NewRequest(http.MethodPost, "http://user:p%40ss@"+s.Listener.Addr().String(), nil)
	require.NoError(t, err)
	for _, header := range []string{"", "Bearer token"} {
		want := header
		if header == "" {
			want = "Basic dXNlcjpwQHNz"
		} else {
			req.Header.Set("Authorization", header)
		}
		res, err := tr.RoundTrip(req)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, want, <-got)
		require.Equal(t, header, req.Header.Get("Authorization"), "the request is the caller's")
	}
}

func TestDialWithoutPlanIsRefused(t *testing.T) {
	s, c := receiver(t, "127.0.0.1:0", ok)
	s.Start()
	tr := newTransport(t, Rules{Allow: []string{"private"}}, Options{})
	_, err := tr.dial(context.Background(), "tcp", s.Listener.Addr().String())
	require.Error(t, err)
	_, err = tr.http.RoundTrip(httptest.NewRequest(http.MethodGet, s.URL, nil))
	require.Error(t, err)
	require.Zero(t, c.accepted.Load())
}

func BenchmarkTransport(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(ok))
	defer s.Close()
	tr := newTransport(b, Rules{Allow: []string{"private"}}, Options{})
	for name, rt := range map[string]http.RoundTripper{"guarded": tr, "unguarded": tr.unguarded()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest(http.MethodPost, s.URL, strings.NewReader("body"))
					res, err := rt.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		})
	}
}

// unguarded is the same transport with nobody in between, to compare with.
func (t *Transport) unguarded() *http.Transport {
	u := t.http.Clone()
	u.DialContext = (&net.Dialer{}).DialContext
	return u
}
