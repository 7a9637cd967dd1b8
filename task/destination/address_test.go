package destination

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPublicAddresses(t *testing.T) {
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
		"192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "11.0.0.0", "9.255.255.255", "126.255.255.255", "128.0.0.0",
		"2606:4700:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
	} {
		a := addressOf(netip.MustParseAddr(text))
		require.True(t, a.public(), text)
		require.False(t, a.private(), text)
	}
}

// The first and last address of everything in IANA's special-purpose
// registries that is not globally reachable.
func TestSpecialAddressesAreNotPublic(t *testing.T) {
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
		"::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32",
		"2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "3fff::/20", "5f00::/16",
		"64:ff9b::10.0.0.0/104", "64:ff9b::127.0.0.0/104", "64:ff9b::169.254.0.0/112", "::ffff:127.0.0.0/104", "::ffff:10.0.0.0/104",
	} {
		p := netip.MustParsePrefix(text)
		for _, ip := range []netip.Addr{p.Masked().Addr(), lastOf(p)} {
			a := addressOf(ip)
			require.False(t, a.public(), "%s of %s", ip, p)
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

func TestPrivateAddresses(t *testing.T) {
	for _, text := range []string{
		"10.0.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.255.255.255", "169.254.1.1", "100.64.0.1",
		"::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1",
	} {
		a := addressOf(netip.MustParseAddr(text))
		require.True(t, a.private(), text)
	}
	for _, text := range []string{
		"0.0.0.0", "::", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
		"2001:db8::1", "2002:a00:1::", "64:ff9b::10.0.0.1", "::10.0.0.1", "fec0::1", "2001::1",
	} {
		a := addressOf(netip.MustParseAddr(text))
		require.False(t, a.private(), text)
	}
}

func TestAddressesWithin(t *testing.T) {
	for text, want := range map[string][]string{
		"64:ff9b::192.0.2.33":                  {"192.0.2.33"},
		"64:ff9b:1:c000:2:2100::":              {"192.0.2.33", "0.0.0.0"}, // RFC 6052, section 2.4
		"2002:c000:204::1":                     {"192.0.2.4"},
		"2001:0:4136:e378:8000:63bf:3fff:fdd2": {"65.54.227.120", "192.0.2.45"}, // RFC 4380
		"::169.254.169.254":                    {"169.254.169.254"},
		"::ffff:0:169.254.169.254":             {"169.254.169.254"},
		"2606:4700::5efe:10.0.0.1":             {"10.0.0.1"},
		"2606:4700::200:5efe:10.0.0.1":         {"10.0.0.1"},
		"0.0.0.0":                              {"127.0.0.1", "::1"},
		"::":                                   {"127.0.0.1", "::1"},
		"::1":                                  nil,
		"::ffff:10.0.0.1":                      nil,
		"2606:4700:4700::1111":                 nil,
	} {
		a := addressOf(netip.MustParseAddr(text))
		var got []string
		for _, inner := range a.inner[:a.n] {
			got = append(got, inner.String())
		}
		require.Equal(t, want, got, text)
	}
}
