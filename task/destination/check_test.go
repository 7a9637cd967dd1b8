package destination

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/ringback/ringback/task"
)

func check(t *testing.T, p *Policy, raw string) error {
	t.Helper()
	u, err := url.Parse(raw) // as the engine does: Check must not depend on ParseURL
	require.NoError(t, err)
	return p.Check(context.Background(), u)
}

func problem(t *testing.T, err error) *task.Problem {
	t.Helper()
	var p *task.Problem
	require.ErrorAs(t, err, &p)
	return p
}

func TestClientLearnsWhatButNotWhere(t *testing.T) {
	server := names(map[string]string{"db.test": "10.1.2.3"})
	p := newPolicy(t, Rules{}, Options{Resolver: server.resolver()})

	got := problem(t, check(t, p, "https://db.test:5432/x?token=hunter2"))
	require.Equal(t, "callbacks to db.test:5432 are not allowed: its name leads to no address that may be called", got.Detail)
	require.Equal(t, "db.test leads to 10.1.2.3, which is not public; if callbacks are to go there, add `allow 10.0.0.0/8` or `allow private`", got.Cause.Error())

	got = problem(t, check(t, p, "http://93.184.215.14/"))
	require.Equal(t, "callbacks to 93.184.215.14 are not allowed: plain http is not allowed, use https", got.Detail)
	require.Contains(t, got.Cause.Error(), "`allow 93.184.215.14`; to all public addresses, `allow http`")

	got = problem(t, check(t, p, "https://169.254.169.254/"))
	require.Equal(t, "callbacks to 169.254.169.254 are not allowed: only public addresses may be called", got.Detail)
	require.Contains(t, got.Cause.Error(), "add `allow 169.254.169.254`")

	p = newPolicy(t, Rules{Only: []string{"hooks.test"}}, Options{Resolver: server.resolver()})
	got = problem(t, check(t, p, "https://db.test/"))
	require.Equal(t, "callbacks to db.test are not allowed: it is not one of the hosts that may be called", got.Detail)
	require.Contains(t, got.Cause.Error(), "add `only db.test`")
}

// What a hint says to add lets the URL through.
func TestHintsAreTrue(t *testing.T) {
	own := func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:2019")} }
	for raw, rule := range map[string]string{
		"https://10.1.2.3/":          "10.0.0.0/8",
		"http://[fd00::1]:80/":       "fc00::/7",
		"https://192.0.2.1/":         "192.0.2.0/24",
		"https://[2002:a00:1::]/":    "2002::/16",
		"https://[100::1]/":          "100::1",
		"https://168.63.129.16/":     "168.63.129.16",
		"https://[fd00:ec2::254]:8/": "fd00:ec2::254",
		"http://127.0.0.1:2019/":     "127.0.0.1:2019",
		"http://8.8.8.8/":            "8.8.8.8",
	} {
		got := problem(t, check(t, newPolicy(t, Rules{}, Options{Own: own}), raw))
		require.Contains(t, got.Cause.Error(), "add `allow "+rule+"`", raw)
		require.NoError(t, check(t, newPolicy(t, Rules{Allow: []string{rule}}, Options{Own: own}), raw), raw)
	}
}

func TestCredentials(t *testing.T) {
	p := newPolicy(t, Rules{}, Options{})
	got := problem(t, check(t, p, "https://user:hunter2@8.8.8.8/"))
	require.Equal(t, 400, got.Status)
	require.NotContains(t, got.Error(), "hunter2")
	require.Equal(t, 400, problem(t, check(t, p, "https://public.test@10.0.0.1/")).Status)

	p = newPolicy(t, Rules{Credentials: true}, Options{})
	require.NoError(t, check(t, p, "https://user:pass@8.8.8.8/"))
	require.Equal(t, 403, problem(t, check(t, p, "https://public.test@10.0.0.1/")).Status)
}

func TestCheckOfURLsNobodyParsed(t *testing.T) {
	p := newPolicy(t, Rules{}, Options{})
	for _, u := range []*url.URL{
		{}, {Scheme: "https"}, {Host: "8.8.8.8"}, {Scheme: "unix", Host: "8.8.8.8"}, {Scheme: "https", Host: "8.8.8.8:x"},
		{Scheme: "https", Host: "2606:4700::1"}, {Scheme: "https", Opaque: "//10.0.0.1/", Host: "8.8.8.8"},
		{Scheme: "https", Host: "8.8.8.8\r\n"}, {Scheme: "https", Host: "a b"},
		{Scheme: "https", Host: "8.8.8.8", Path: string(make([]byte, MaxURLLength))},
	} {
		require.Equal(t, 400, problem(t, p.Check(context.Background(), u)).Status, "%+v", u)
	}
}

func TestNamesThatDoNotResolve(t *testing.T) {
	server := &nameServer{answer: func(name string) ([]netip.Addr, dnsmessage.RCode) {
		switch name {
		case "broken.test":
			return nil, dnsmessage.RCodeServerFailure
		case "empty.test":
			return nil, dnsmessage.RCodeSuccess
		}
		return nil, dnsmessage.RCodeNameError
	}}
	p := newPolicy(t, Rules{}, Options{Resolver: server.resolver()})

	got := problem(t, check(t, p, "https://nowhere.test/"))
	require.Equal(t, 403, got.Status)
	require.Equal(t, "callbacks to nowhere.test are not allowed: its name leads to no address that may be called", got.Detail)
	require.Equal(t, "nowhere.test does not exist, as far as this server's resolver knows", got.Cause.Error())
	require.Equal(t, 403, problem(t, check(t, p, "https://empty.test/")).Status)
	require.NoError(t, check(t, p, "https://broken.test/"))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, p.Check(ctx, &url.URL{Scheme: "https", Host: "later.test"}))
	require.Equal(t, 403, problem(t, check(t, p, "https://later.test/")).Status, "a request that ends says nothing about the name")
}

// Nobody learns which names there are inside: one that leads there is refused
// as one that does not exist, and so are this server's own addresses where they
// could not be called anyway.
func TestNoOracleForNames(t *testing.T) {
	server := names(map[string]string{"db.test": "10.1.2.3", "me.test": "10.0.0.5", "meta.test": "169.254.169.254", "multi.test": "224.0.0.1"})
	own := func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:443")} }
	for _, rules := range []Rules{{}, {Only: []string{"93.184.0.0/16"}}, {Only: []string{"*.test"}}, {Allow: []string{"192.168.0.0/16", "http"}}} {
		p := newPolicy(t, rules, Options{Resolver: server.resolver(), Own: own})
		for _, scheme := range []string{"https", "http"} {
			want := problem(t, check(t, p, scheme+"://nowhere.test:443/"))
			for _, name := range []string{"db", "me", "meta", "multi"} {
				got := problem(t, check(t, p, scheme+"://"+name+".test:443/"))
				require.Equal(t, want.Status, got.Status)
				require.Equal(t, want.Type, got.Type)
				require.Equal(t, want.Detail, strings.Replace(got.Detail, name+".test", "nowhere.test", 1))
			}
		}
		require.Equal(t, strings.Replace(problem(t, check(t, p, "https://10.0.0.5/")).Detail, "10.0.0.5", "10.0.0.6", 1),
			problem(t, check(t, p, "https://10.0.0.6/")).Detail)
	}
}

func TestSlowResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPolicy(t, Rules{}, Options{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}})
		begin := time.Now()
		require.NoError(t, check(t, p, "https://slow.test/"))
		require.Equal(t, 2*time.Second, time.Since(begin))
		require.NoError(t, check(t, p, "https://slow.test/"))
		require.Equal(t, 2*time.Second, time.Since(begin), "the next check does not wait")
	})
}

func TestNamesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ip := "93.184.215.14"
		server := &nameServer{}
		server.answer = func(string) ([]netip.Addr, dnsmessage.RCode) { return addrs(ip), dnsmessage.RCodeSuccess }
		p := newPolicy(t, Rules{}, Options{Resolver: server.resolver()})

		require.NoError(t, check(t, p, "https://a.test/"))
		asked := server.asked()
		ip = "10.0.0.1"
		time.Sleep(29 * time.Second)
		require.NoError(t, check(t, p, "https://a.test/"))
		require.Equal(t, asked, server.asked())
		time.Sleep(2 * time.Second)
		require.Equal(t, 403, problem(t, check(t, p, "https://a.test/")).Status)
		require.Greater(t, server.asked(), asked)
	})
}

func TestRememberedNamesAreBounded(t *testing.T) {
	server := &nameServer{answer: func(string) ([]netip.Addr, dnsmessage.RCode) { return addrs("8.8.8.8"), dnsmessage.RCodeSuccess }}
	p := newPolicy(t, Rules{}, Options{Resolver: server.resolver()})
	for i := range maxNames {
		p.names.Add(time.Duration(i).String(), resolved{})
	}
	require.NoError(t, check(t, p, "https://a.test/"))
	require.Equal(t, maxNames, p.names.Len())
}

func TestNoNeedlessQueries(t *testing.T) {
	server := names(nil)
	options := Options{Resolver: server.resolver()}
	require.NoError(t, check(t, newPolicy(t, Rules{Allow: []string{"*.test"}}, options), "http://a.test/"))
	require.Error(t, check(t, newPolicy(t, Rules{Only: []string{"*.example"}}, options), "https://a.test/"))
	require.NoError(t, check(t, newPolicy(t, Rules{}, options), "https://8.8.8.8/"))
	require.Zero(t, server.asked())
}

func TestOwnListeners(t *testing.T) {
	server := names(map[string]string{"me.test": "10.0.0.5", "loop.test": "127.0.0.1", "hook.test": "10.0.0.5"})
	options := Options{Resolver: server.resolver(), Own: func() []netip.AddrPort {
		return []netip.AddrPort{
			netip.MustParseAddrPort("[::]:443"), netip.MustParseAddrPort("127.0.0.1:2019"), netip.MustParseAddrPort("10.0.0.5:9000"),
		}
	}}
	policy := func(allow ...string) *Policy {
		p := newPolicy(t, Rules{Allow: allow}, options)
		p.own.interfaces = func() ([]net.Addr, error) {
			_, a, _ := net.ParseCIDR("10.0.0.5/24")
			a.IP = net.ParseIP("10.0.0.5")
			b := &net.IPNet{IP: net.ParseIP("93.184.215.14"), Mask: net.CIDRMask(24, 32)}
			return []net.Addr{a, b}, nil
		}
		return p
	}
	private := policy("private", "0.0.0.0/0", "::/0")
	for _, raw := range []string{
		"https://10.0.0.5/", "http://10.0.0.5:443/", "https://127.0.0.1/", "https://127.9.9.9/", "https://[::1]/", "https://0.0.0.0/",
		"https://[::]/", "https://93.184.215.14/", "https://[::ffff:10.0.0.5]/", "https://[64:ff9b::10.0.0.5]/", "https://me.test/", "https://loop.test/",
		"http://127.0.0.1:2019/", "http://0.0.0.0:2019/", "http://[::]:2019/", "http://[::ffff:127.0.0.1]:2019/", "http://loop.test:2019/",
		"http://10.0.0.5:9000/",
	} {
		got := problem(t, check(t, private, raw))
		require.Contains(t, got.Detail, "come back to this server", raw)
		require.Contains(t, got.Cause.Error(), "add `allow ", raw)
	}
	for _, raw := range []string{
		"https://10.0.0.6/", "https://10.0.0.5:8443/", "http://127.0.0.2:2019/", "http://127.0.0.1:9000/", "http://[::1]:2019/", "https://8.8.8.8/",
	} {
		require.NoError(t, check(t, private, raw), raw)
	}
	require.NoError(t, check(t, policy("10.0.0.5:443"), "https://me.test/"))
	require.NoError(t, check(t, policy("me.test:443"), "https://me.test/"))
	require.Error(t, check(t, policy("10.0.0.5", "10.0.0.5:80"), "https://10.0.0.5/"))

	// Names that a rule allows are not resolved early: the guard decides.
	for _, rule := range []string{"hook.test", "*.test", "*.test:443", "hook.test:80"} {
		u := target{https: true, host: "hook.test", name: "hook.test", port: 443, authority: "hook.test"}
		require.Error(t, asError(policy(rule).judge(&u, netip.MustParseAddr("10.0.0.5"))), rule)
	}
}

func asError(refused *RefusedError) error {
	if refused == nil {
		return nil
	}
	return refused
}

func TestInterfacesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads int
		fail := false
		o := own{
			listeners: func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:443")} },
			interfaces: func() ([]net.Addr, error) {
				if reads++; fail {
					return nil, errors.New("no")
				}
				return []net.Addr{&net.IPNet{IP: net.IPv4(10, 0, 0, byte(reads)), Mask: net.CIDRMask(24, 32)}}, nil
			},
		}
		has := func(ip string) bool { a := addressOf(netip.MustParseAddr(ip)); return o.has(&a, 443) }
		require.True(t, has("10.0.0.1"))
		require.False(t, has("10.0.0.2"))
		require.Equal(t, 1, reads)
		time.Sleep(interfacesFor)
		require.True(t, has("10.0.0.2"))
		fail = true
		time.Sleep(interfacesFor)
		require.True(t, has("10.0.0.2"))
	})
}

func BenchmarkCheck(b *testing.B) {
	server := names(map[string]string{"hooks.test": "93.184.215.14"})
	own := func() []netip.AddrPort { return []netip.AddrPort{{}, netip.MustParseAddrPort("127.0.0.1:2019")} }
	p := newPolicy(b, Rules{Allow: []string{"10.0.0.0/8", "*.internal.test"}}, Options{Resolver: server.resolver(), Own: own})
	for _, raw := range []string{"https://93.184.215.14/hook", "https://10.1.2.3:8443/hook", "https://hooks.test/hook", "https://a.internal.test/hook"} {
		u, err := url.Parse(raw)
		require.NoError(b, err)
		b.Run(u.Host, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Check(context.Background(), u); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
