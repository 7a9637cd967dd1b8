package destination

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

func TestProxyOfTheEnvironment(t *testing.T) {
	seen := make(chan string, 10)
	proxy, c := receiver(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI })
	proxy.Start()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	server := names(map[string]string{"hook.test": "93.184.215.14"})

	tr := newTransport(t, Rules{Allow: []string{"http"}}, Options{Resolver: server.resolver()})
	passed := record(tr)
	_, err := post(t, tr, "http://hook.test/x")
	require.ErrorIs(t, err, errPassed)
	require.Equal(t, addrs("93.184.215.14"), passed(), "the environment is nothing to heed")
	require.Zero(t, c.accepted.Load())

	tr = newTransport(t, Rules{Allow: []string{"http"}, Proxy: "environment"}, Options{Resolver: server.resolver()})
	status, err := post(t, tr, "http://hook.test/x")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Equal(t, "http://hook.test/x", <-seen)
}

func TestProxyIsNoWayRound(t *testing.T) {
	seen := make(chan string, 10)
	proxy, c := receiver(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) { seen <- r.Method + " " + r.RequestURI })
	proxy.Start()
	server := &nameServer{answer: func(name string) ([]netip.Addr, dnsmessage.RCode) {
		switch name {
		case "hook.test":
			return addrs("93.184.215.14"), dnsmessage.RCodeSuccess
		case "mixed.test":
			return addrs("93.184.215.14 10.0.0.1"), dnsmessage.RCodeSuccess
		case "meta.allowed.test":
			return addrs("169.254.169.254"), dnsmessage.RCodeSuccess
		}
		return nil, dnsmessage.RCodeNameError
	}}
	p := newPolicy(t, Rules{Allow: []string{"*.allowed.test"}, Proxy: proxy.URL}, Options{Resolver: server.resolver()})
	tr := p.Transport()
	defer tr.CloseIdleConnections()

	for _, raw := range []string{
		"https://10.0.0.1/", "http://127.0.0.1/", "https://mixed.test/", "http://meta.allowed.test/", "http://hook.test/", "http://elsewhere.test/",
		"https://localhost/", "https://169.254.169.254/", proxy.URL,
	} {
		require.Equal(t, 403, problem(t, check(t, p, raw)).Status, raw)
		_, err := post(t, tr, raw)
		require.ErrorAs(t, err, new(*RefusedError), raw)
	}
	require.Zero(t, c.accepted.Load())

	for _, raw := range []string{"https://hook.test/", "https://elsewhere.test/"} { // a name that only the proxy may know
		require.NoError(t, check(t, p, raw))
		_, err := post(t, tr, raw)
		require.Error(t, err, "the proxy of this test makes no tunnels")
	}
	require.Equal(t, "CONNECT hook.test:443", <-seen)
	require.Equal(t, "CONNECT elsewhere.test:443", <-seen)
	_, err := post(t, tr, "http://new.allowed.test/")
	require.NoError(t, err)
	require.Equal(t, "POST http://new.allowed.test/", <-seen)
}
