package caddymodule

import (
	"net/netip"

	"github.com/caddyserver/caddy/v2"
)

// listeners are the addresses that this Caddy listens on, to which callbacks
// don't go unless the very address is allowed.
func (h *Handler) listeners() []netip.AddrPort {
	h.own.Do(func() {
		for _, server := range h.http.Servers {
			for _, listen := range server.Listen {
				h.ownAddrs = append(h.ownAddrs, addrPorts(listen)...)
			}
		}
	})
	return h.ownAddrs
}

// addrPorts are the addresses of a listener as it is configured; none for a
// unix socket. No host is every address.
func addrPorts(listen string) []netip.AddrPort {
	address, err := caddy.ParseNetworkAddress(listen)
	if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() {
		return nil
	}
	var out []netip.AddrPort
	for i := range address.PortRangeSize() {
		ip := netip.IPv6Unspecified()
		switch parsed, err := netip.ParseAddr(address.Host); {
		case address.Host == "":
		case address.Host == "localhost":
			ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		case err != nil:
			continue // a name, which the system resolves when it listens
		default:
			ip = parsed
		}
		out = append(out, netip.AddrPortFrom(ip, uint16(address.StartPort+i)))
	}
	return out
}
