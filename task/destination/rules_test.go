package destination

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

func TestRules(t *testing.T) {
	server := names(map[string]string{
		"public.test": "93.184.215.14", "other.test": "93.184.215.15", "a.internal.test": "10.1.2.3", "internal.test": "10.1.2.4",
		"both.test": "10.1.2.3 93.184.215.14", "wide.test": "10.1.2.3 127.0.0.1",
		"notinternal.test": "10.1.2.5", "metadata.test": "169.254.169.254", "tail.test": "100.64.0.7",
	})
	const ok, plain, addr, list = "", "plain http", "only public", "not one of"
	for _, c := range []struct {
		name  string
		rules Rules
		want  map[string]string
	}{
		{"default", Rules{}, map[string]string{
			"https://public.test/hook": ok, "https://public.test:8443/": ok, "https://93.184.215.14/": ok,
			"https://both.test/": ok, "https://wide.test/": addr, "https://tail.test/": addr,
			"http://public.test/": plain, "http://93.184.215.14/": plain, "http://both.test/": addr,
			"https://10.1.2.3/": addr, "https://127.0.0.1/": addr, "https://[::1]/": addr, "https://a.internal.test/": addr,
			"https://169.254.169.254/": addr, "https://metadata.test/": addr, "https://168.63.129.16/": addr, "https://localhost/": addr,
		}},
		{"private", Rules{Allow: []string{"private"}}, map[string]string{
			"http://10.1.2.3/": ok, "http://127.0.0.1:9/": ok, "https://[::1]/": ok, "http://a.internal.test/": ok, "http://tail.test/": ok,
			"http://[fe80::1%25eth0]/": ok, "http://[::ffff:10.1.2.3]/": ok, "http://localhost/": ok,
			"http://public.test/": plain, "https://public.test/": ok,
			"http://169.254.169.254/": addr, "http://metadata.test/": addr, "http://100.100.100.200/": addr, "http://[fd00:ec2::254]/": addr,
			"http://[::ffff:169.254.169.254]/": addr, "http://[fe80::a9fe:a9fe%25eth0]/": addr,
			"http://0.0.0.0/": addr, "http://[::]/": addr, "http://224.0.0.1/": addr, "http://240.0.0.1/": addr, "http://[64:ff9b::10.0.0.1]/": addr,
		}},
		{"range", Rules{Allow: []string{"10.1.0.0/16", "fd12::/16"}}, map[string]string{
			"http://10.1.2.3/": ok, "http://10.1.2.3:8080/": ok, "http://a.internal.test/": ok, "http://[fd12::1]/": ok,
			"http://10.2.0.1/": addr, "http://[fd13::1]/": addr, "http://127.0.0.1/": addr, "http://public.test/": plain,
		}},
		{"ranges do not name metadata", Rules{Allow: []string{"169.254.0.0/16", "100.64.0.0/10", "0.0.0.0/0", "::/0"}}, map[string]string{
			"http://169.254.1.1/": ok, "http://100.64.0.1/": ok, "http://public.test/": ok,
			"http://169.254.169.254/": addr, "http://100.100.100.200/": addr, "http://168.63.129.16/": addr,
			"http://[fd00:ec2::254]/": addr, "http://[::169.254.169.254]/": addr, "http://[2002:a9fe:a9fe::]/": addr,
		}},
		{"metadata by name", Rules{Allow: []string{"169.254.169.254", "fd00:ec2::254/128"}}, map[string]string{
			"http://169.254.169.254/": ok, "http://metadata.test/": ok, "http://[fd00:ec2::254]/": ok, "http://169.254.170.2/": addr,
			"http://[2002:a9fe:a9fe::]/": addr,
		}},
		{"address with port", Rules{Allow: []string{"10.1.2.3:8080", "[::1]:9", "::2"}}, map[string]string{
			"http://10.1.2.3:8080/": ok, "http://10.1.2.3/": addr, "http://[::1]:9/": ok, "http://[::1]/": addr, "http://[::2]:7/": ok,
		}},
		{"host", Rules{Allow: []string{"Internal.TEST.", "*.internal.test:8080", "bücher.test"}}, map[string]string{
			"http://internal.test/": ok, "http://internal.test:99/": ok, "http://INTERNAL.test./": ok,
			"http://a.internal.test:8080/": ok, "http://x.y.internal.test:8080/": ok,
			"http://a.internal.test/": addr, "https://notinternal.test/": addr, "https://notinternal.test:8080/": addr,
			"http://xn--bcher-kva.test/": ok, "http://BÜCHER.test/": ok,
		}},
		{"http", Rules{Allow: []string{"http"}}, map[string]string{
			"http://public.test/": ok, "http://93.184.215.14/": ok, "http://10.1.2.3/": addr, "http://a.internal.test/": addr,
		}},
		{"only narrows", Rules{Only: []string{"public.test", "*.internal.test", "8.8.8.0/24", "1.1.1.1:443"}}, map[string]string{
			"https://public.test/": ok, "http://public.test/": plain, "https://other.test/": list,
			"https://8.8.8.8/": ok, "https://8.8.4.4/": list, "https://1.1.1.1/": ok, "https://1.1.1.1:8443/": list,
			"https://a.internal.test/": addr, "https://internal.test/": list, "https://10.1.2.3/": list,
		}},
		{"only and allow", Rules{Allow: []string{"10.0.0.0/8"}, Only: []string{"*.internal.test", "10.1.2.5"}}, map[string]string{
			"http://a.internal.test/": ok, "http://10.1.2.5/": ok, "http://notinternal.test/": ok,
			"http://10.1.2.3/": list, "http://internal.test/": list, "https://public.test/": list,
		}},
		{"only private", Rules{Allow: []string{"private"}, Only: []string{"private"}}, map[string]string{
			"http://10.1.2.3/": ok, "https://public.test/": list, "https://8.8.8.8/": list, "http://169.254.169.254/": addr,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolicy(t, c.rules, Options{Resolver: server.resolver()})
			for raw, want := range c.want {
				u, err := ParseURL(raw)
				require.NoError(t, err, raw)
				err = p.Check(context.Background(), u)
				if want == ok {
					require.NoError(t, err, raw)
					continue
				}
				var problem *task.Problem
				require.ErrorAs(t, err, &problem, raw)
				require.Equal(t, 403, problem.Status, raw)
				require.Equal(t, task.ProblemForbiddenURL, problem.Type)
				if want == addr && (strings.Contains(raw, ".test") || strings.Contains(raw, "localhost")) {
					want = leadsNowhere
				}
				require.Contains(t, problem.Detail, want, raw)
				var refused *RefusedError
				require.ErrorAs(t, err, &refused, raw)
			}
		})
	}
}

func TestBadRules(t *testing.T) {
	for _, c := range []struct {
		rules Rules
		want  string
	}{
		{Rules{Allow: []string{"*"}}, "allow *: it would allow everything"},
		{Rules{Allow: []string{"10.1.2.3/8"}}, "allow 10.1.2.3/8: the range begins at 10.0.0.0: write 10.0.0.0/8"},
		{Rules{Allow: []string{"10.0.0.0/33"}}, "not a range"},
		{Rules{Allow: []string{"::ffff:10.0.0.0/104"}}, "write the range as IPv4"},
		{Rules{Allow: []string{"https://hooks.example.com/"}}, "it is a URL"},
		{Rules{Allow: []string{"hooks.example.com/path"}}, "not a range"},
		{Rules{Allow: []string{"hooks.example.com:0"}}, "not a port"},
		{Rules{Allow: []string{"hooks.example.com:http"}}, "not a port"},
		{Rules{Allow: []string{"hooks.*.com"}}, "want private, http"},
		{Rules{Allow: []string{"*.*.com"}}, "want private, http"},
		{Rules{Allow: []string{"127.1"}}, "want private, http"},
		{Rules{Allow: []string{"fe80::1%eth0"}}, "no zone"},
		{Rules{Allow: []string{""}}, "want private, http"},
		{Rules{Only: []string{"http"}}, "only http"},
		{Rules{Only: []string{"10.0.0.0/8"}}, "add `allow 10.0.0.0/8`"},
		{Rules{Only: []string{"private"}}, "add `allow private`"},
		{Rules{Only: []string{"fd00::1"}, Allow: []string{"10.0.0.0/8"}}, "add `allow fd00::1`"},
		{Rules{Proxy: "unix:///run/proxy.sock"}, "proxy: want"},
		{Rules{Proxy: "proxy.example.com:3128"}, "proxy: want"},
	} {
		_, err := New(c.rules, Options{})
		require.ErrorContains(t, err, c.want)
	}
	for _, rules := range []Rules{
		{Only: []string{"8.8.8.0/24", "0.0.0.0/0", "2a00::/16"}},
		{Only: []string{"10.0.0.0/8"}, Allow: []string{"private"}},
		{Only: []string{"10.0.0.0/8"}, Allow: []string{"10.1.0.0/16"}},
		{Only: []string{"10.0.0.0/8"}, Allow: []string{"*.internal"}},
	} {
		_, err := New(rules, Options{})
		require.NoError(t, err)
	}
}
