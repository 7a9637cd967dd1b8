package destination

import (
	"context"
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// inside is where no callback may go by default, said by the standard library
// and not by what is tested.
func inside(ip netip.Addr) bool {
	b := net.IP(ip.Unmap().AsSlice())
	return b.IsLoopback() || b.IsPrivate() || b.IsLinkLocalUnicast() || b.IsUnspecified() || b.IsMulticast() ||
		netip.MustParsePrefix("100.64.0.0/10").Contains(ip.Unmap())
}

// FuzzURL: whatever URL is taken, the default rules never dial an address
// inside, wherever its name leads, and what passes has gone through ParseURL unharmed.
func FuzzURL(f *testing.F) {
	for _, trick := range tricks {
		f.Add(trick)
	}
	f.Add("https://user:pass@bücher.example:8443/a?b#c")
	f.Add("https://[2606:4700::1]/")
	f.Add("https://93.184.215.14/")
	everything := addrs("127.0.0.1 10.0.0.1 169.254.169.254 93.184.215.14 8.8.8.8 ::1 fd00::1 2606:4700::1 fe80::1 100.64.0.1 64:ff9b::7f00:1")
	server := &nameServer{answer: func(name string) ([]netip.Addr, dnsmessage.RCode) {
		h := sha256.Sum256([]byte(name))
		var list []netip.Addr
		for i, ip := range everything {
			if h[i]&1 != 0 {
				list = append(list, ip)
			}
		}
		return list, dnsmessage.RCodeSuccess
	}}
	p, err := New(Rules{Credentials: true}, Options{Resolver: server.resolver()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseURL(raw)
		if err != nil {
			return
		}
		again, err := ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", raw, u, err)
		}
		if again.String() != u.String() {
			t.Fatalf("%q became %q, then %q", raw, u, again)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		checked := p.Check(ctx, u)

		tr := p.Transport()
		passed := record(tr)
		res, err := tr.RoundTrip((&http.Request{Method: http.MethodPost, URL: u, Header: http.Header{}}).WithContext(ctx))
		if err == nil {
			res.Body.Close()
			t.Fatalf("%q connected", raw)
		}
		for _, ip := range passed() {
			if inside(ip) {
				t.Fatalf("%q would connect to %s", raw, ip)
			}
			if checked != nil {
				t.Fatalf("%q would connect to %s although the check said %v", raw, ip, checked)
			}
		}
	})
}

// FuzzRule: a rule that is read never allows an address by default's standards
// inside unless it says so, and reading never panics.
func FuzzRule(f *testing.F) {
	for _, rule := range []string{"private", "10.0.0.0/8", "[::1]:80", "*.example.com:8080", "bücher.example", "*", ":", "[", "]", "::ffff:1.2.3.4"} {
		f.Add(rule)
	}
	loopback := addressOf(netip.MustParseAddr("127.0.0.1"))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRule(text)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{r.private, r.prefix.IsValid(), r.name != ""} {
			if is {
				set++
			}
		}
		if set != 1 {
			t.Fatalf("%q is %+v", text, r)
		}
		if r.name != "" && (r.hasAddr(&loopback, 80) || r.hasName(&target{port: 80})) {
			t.Fatalf("%q is for addresses", text)
		}
	})
}
