package destination

import (
	"net/netip"

	"code.dny.dev/ssrf"
)

// guardian knows the special-purpose registries of IANA; of IPv6 it takes
// only what is delegated as global unicast, 2000::/3, for public.
var guardian = ssrf.New(ssrf.WithAnyNetwork(), ssrf.WithAnyPort())

// privateRanges are what `private` stands for: networks that belong to somebody
// who may want callbacks there. Multicast, documentation, reserved and
// unspecified addresses belong to nobody.
var privateRanges = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"127.0.0.0/8", "::1/128", // loopback
	"169.254.0.0/16", "fe80::/10", // link-local
	"100.64.0.0/10", // shared by carriers (RFC 6598), used by Tailscale and clouds
	"fc00::/7",      // unique local, RFC 4193
)

// metadata are the addresses at which clouds tell machines their secrets, or
// rule them. Several are in ranges that people have reason to allow, or even
// public, so only a rule for the very address allows one.
var metadata = func() map[netip.Addr]bool {
	set := make(map[netip.Addr]bool)
	for _, text := range []string{
		"169.254.169.254",                 // most clouds
		"169.254.170.2", "169.254.170.23", // AWS: credentials of ECS tasks, EKS pods
		"fd00:ec2::254", "fd00:ec2::23", // AWS: instances, EKS pods
		"fd20:ce::254",                         // Google
		"168.63.129.16",                        // Azure's wire server; a public address
		"100.100.100.200", "fd00:100::100:200", // Alibaba
		"192.0.0.192", "fd00:c1::a9fe:a9fe", // Oracle
		"169.254.42.42", "fd00:42::42", // Scaleway
		"fd00:a9fe:a9fe::1", // Akamai
		"fe80::a9fe:a9fe",   // OpenStack
		"169.254.0.23",      // Tencent
		"100.96.0.96",       // Volcengine
		"169.254.169.250",   // Rancher
	} {
		set[netip.MustParseAddr(text)] = true
	}
	return set
}()

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291, section 2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765, section 2.1
)

// address is an IP address with all that it may stand for.
type address struct {
	netip.Addr // unmapped, without zone
	// inner are the addresses that it carries within, or that the system
	// takes it for; the first n count.
	inner [2]netip.Addr
	n     int
}

// addressOf takes an address apart. Prefixes never contain an address with a
// zone, nor IPv4 prefixes a mapped one, so nothing is compared before this.
func addressOf(ip netip.Addr) address {
	a := address{Addr: ip.WithZone("").Unmap()}
	if a.IsUnspecified() { // connects to this machine
		a.carries(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		a.carries(netip.IPv6Loopback())
		return a
	}
	if a.Is4() {
		return a
	}
	b := a.As16()
	last := [4]byte(b[12:])
	switch {
	case nat64.Contains(a.Addr), translated.Contains(a.Addr),
		compatible.Contains(a.Addr) && a.Addr != netip.IPv6Loopback():
		a.carries(netip.AddrFrom4(last))
	case nat64Local.Contains(a.Addr): // as a /48, or as a /96 of it
		a.carries(netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}))
		a.carries(netip.AddrFrom4(last))
	case sixToFour.Contains(a.Addr):
		a.carries(netip.AddrFrom4([4]byte(b[2:6])))
	case teredo.Contains(a.Addr): // its server, and its client in disguise
		a.carries(netip.AddrFrom4([4]byte(b[4:8])))
		a.carries(netip.AddrFrom4([4]byte{^last[0], ^last[1], ^last[2], ^last[3]}))
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214
		a.carries(netip.AddrFrom4(last))
	}
	return a
}

func (a *address) carries(ip netip.Addr) {
	a.inner[a.n] = ip
	a.n++
}

// public says that anybody on the Internet can reach the address, and nothing
// else by it. A NAT64 address is one if the IPv4 address in it is, for that is
// what all of IPv4 looks like from a network with IPv6 only.
func (a *address) public() bool {
	for _, inner := range a.inner[:a.n] {
		if guardian.SafeAddr(inner) != nil {
			return false
		}
	}
	return nat64.Contains(a.Addr) || guardian.SafeAddr(a.Addr) == nil
}

// private says that the address is in one of the ranges that `private` allows.
func (a *address) private() bool {
	_, ok := rangeOf(a.Addr, privateRanges)
	return ok
}

// metadata returns the metadata address that a is, or carries.
func (a *address) metadata() (netip.Addr, bool) {
	if metadata[a.Addr] {
		return a.Addr, true
	}
	for _, inner := range a.inner[:a.n] {
		if metadata[inner] {
			return inner, true
		}
	}
	return netip.Addr{}, false
}

// rangeToAllow is the range that an operator may want to allow to reach the
// address: its private or special range, else itself.
func (a *address) rangeToAllow() string {
	for _, list := range [][]netip.Prefix{privateRanges, ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes} {
		if p, ok := rangeOf(a.Addr, list); ok {
			return p.String()
		}
	}
	return a.String()
}

func rangeOf(ip netip.Addr, list []netip.Prefix) (netip.Prefix, bool) {
	for _, p := range list {
		if p.Contains(ip) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}
