package destination

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// Ways to write this machine that lists of SSRF tricks know
// (PayloadsAllTheThings, OWASP's and PortSwigger's cheat sheets). PORT is a
// port at which all of it listens.
var tricks = []string{
	"http://127.0.0.1:PORT/", "http://127.0.0.2:PORT/", "http://127.255.255.254:PORT/", "http://localhost:PORT/", "http://LOCALHOST:PORT/",
	"http://localhost.:PORT/", "http://ip6-localhost:PORT/", "http://foo.localhost:PORT/", "http://0.0.0.0:PORT/", "http://0:PORT/", "http://[::]:PORT/",
	"http://[::1]:PORT/", "http://[0000::1]:PORT/", "http://[0:0:0:0:0:0:0:1]:PORT/", "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
	"http://[::ffff:127.0.0.1]:PORT/", "http://[0:0:0:0:0:ffff:7f00:1]:PORT/", "http://[::ffff:7f00:0001]:PORT/", "http://[::127.0.0.1]:PORT/",
	"http://[::ffff:0:127.0.0.1]:PORT/", "http://[64:ff9b::127.0.0.1]:PORT/", "http://[64:ff9b:1::127.0.0.1]:PORT/",
	"http://[2002:7f00:1::]:PORT/", "http://[2001:0:7f00:1::80ff:fffe]:PORT/", "http://[::ffff:0.0.0.0]:PORT/", "http://[::1%25lo]:PORT/", "http://[fe80::1%25lo]:PORT/",
	"http://[::ffff:127.0.0.1%25lo]:PORT/",
	"http://2130706433:PORT/", "http://4294967296:PORT/", "http://0x7f000001:PORT/", "http://0x7f.0x0.0x0.0x1:PORT/", "http://0177.0.0.1:PORT/",
	"http://0177.0000.0000.0001:PORT/", "http://00000177.0.0.1:PORT/", "http://017700000001:PORT/", "http://0x7F.1:PORT/", "http://127.1:PORT/", "http://127.0.1:PORT/",
	"http://127.0.0.1.:PORT/", "http://127.000.000.001:PORT/", "http://425.510.425.510:PORT/", "http://7147006462:PORT/",
	"http://①②⑦.⓪.⓪.①:PORT/", "http://１２７.０.０.１:PORT/", "http://127。0。0。1:PORT/", "http://127．0．0．1:PORT/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/", "http://ｌｏｃａｌｈｏｓｔ:PORT/", "http://ſocalhost:PORT/",
	"http://%31%32%37.0.0.1:PORT/", "http://127%2e0%2e0%2e1:PORT/", "http://local\u00adhost:PORT/", "http://localhost%00.public.test:PORT/",
	"http://public.test@127.0.0.1:PORT/", "http://public.test:80@127.0.0.1:PORT/", "http://public.test%40@127.0.0.1:PORT/", "http://127.0.0.1:PORT#@public.test/",
	"http://127.0.0.1:PORT?@public.test/", "http://127.0.0.1:PORT/@public.test/", `http://127.0.0.1:PORT\@public.test/`, `http://public.test\@127.0.0.1:PORT/`,
	"http://public.test&@127.0.0.1:PORT#@public.test/", "http://127.0.0.1:PORT;public.test/", "http:127.0.0.1:PORT/", "http:/127.0.0.1:PORT/", `http:\\127.0.0.1:PORT\`,
	"http:///127.0.0.1:PORT/", "//127.0.0.1:PORT/", "http://127.0.0.1:PORT:80/", "http://127.0.0.1\t:PORT/", "http://\n127.0.0.1:PORT/", "http://127.0.0.1 :PORT/", " http://127.0.0.1:PORT/",
	"http://[127.0.0.1]:PORT/", "http://::1:PORT/", "http://127.0.0.1:0PORT/", "http://public.test:80@[::1]:PORT/", "http://[::1]public.test:PORT/", "http://[public.test]@127.0.0.1:PORT/",
	"http://localtest.me:PORT/", "http://127.0.0.1.nip.io:PORT/", "http://spoofed.burpcollaborator.test:PORT/", "http://six.test:PORT/", "http://mapped.test:PORT/", "http://any.test:PORT/", "http://own.test:PORT/",
	"gopher://127.0.0.1:PORT/_x", "dict://127.0.0.1:PORT/x", "ftp://127.0.0.1:PORT/", "ldap://127.0.0.1:PORT/", "tftp://127.0.0.1:PORT/", "ws://127.0.0.1:PORT/", "netdoc:///etc/passwd", "file:///etc/passwd",
	"unix:///run/x.sock", "http+unix://127.0.0.1:PORT/", "jar:http://127.0.0.1:PORT!/", "url:http://127.0.0.1:PORT/", "HTTP://127.0.0.1:PORT/", "hTTp://lOCALHOST:PORT/",
	"http://0.0.0.1:PORT/", "http://[::ffff:7f00:1%25]:PORT/",
}

func loopbackNames() *nameServer {
	zone := map[string]string{
		"localtest.me": "127.0.0.1", "127.0.0.1.nip.io": "127.0.0.1", "spoofed.burpcollaborator.test": "127.0.0.1",
		"six.test": "::1", "mapped.test": "::ffff:127.0.0.1", "any.test": "0.0.0.0 ::", "own.test": "127.0.0.1 ::1", "public.test": "93.184.215.14",
	}
	return &nameServer{answer: func(name string) ([]netip.Addr, dnsmessage.RCode) {
		if list, ok := zone[name]; ok {
			return addrs(list), dnsmessage.RCodeSuccess
		}
		// Whatever else is asked for leads home: a resolver that takes 127.1,
		// octal and all that for what they look like.
		return addrs("127.0.0.1 ::1"), dnsmessage.RCodeSuccess
	}}
}

// No way to write it leads to a connection: not past the check, and not by a
// callback that skipped the check.
func TestTricksReachNothing(t *testing.T) {
	s, c := receiver(t, "[::]:0", ok) // both IPv6 and IPv4
	s.Start()
	for _, rules := range []Rules{{}, {Allow: []string{"http"}}, {Allow: []string{"http"}, Credentials: true}, {Allow: []string{"http", "10.0.0.0/8", "*.example"}}} {
		p := newPolicy(t, rules, Options{Resolver: loopbackNames().resolver()})
		tr := p.Transport()
		for _, trick := range tricks {
			raw := strings.ReplaceAll(trick, "PORT", portOf(s))
			for _, raw := range []string{raw, strings.Replace(raw, "http:", "https:", 1)} {
				u, err := ParseURL(raw)
				if err == nil {
					err = p.Check(context.Background(), u)
				}
				require.Error(t, err, raw)

				if u, err = url.Parse(raw); err != nil {
					continue
				}
				require.Error(t, p.Check(context.Background(), u), raw)
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				res, err := tr.RoundTrip((&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}).WithContext(ctx))
				cancel()
				if err == nil {
					res.Body.Close()
				}
				require.Error(t, err, raw)
			}
		}
		tr.CloseIdleConnections()
	}
	require.Zero(t, c.accepted.Load())

	// The listener does hear, and the same transport does reach it when allowed.
	tr := newTransport(t, Rules{Allow: []string{"private"}}, Options{Resolver: loopbackNames().resolver()})
	for i, raw := range []string{"http://127.0.0.1:PORT/", "http://[::1]:PORT/", "http://own.test:PORT/", "http://①②⑦.⓪.⓪.①:PORT/"} {
		_, err := post(t, tr, strings.ReplaceAll(raw, "PORT", portOf(s)))
		require.NoError(t, err, raw)
		if i < 3 { // the fourth finds the first's connection
			require.EqualValues(t, i+1, c.accepted.Load())
		}
	}
}
