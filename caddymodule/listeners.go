package caddymodule

import (
	"net/netip"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// socketsFor is how long the sockets of this process are taken to stay.
const socketsFor = time.Second

// listeners are the addresses that this process listens on, to which callbacks
// don't go unless the very address is allowed: those of the http servers, which
// may not be there yet, and those of everything else, the admin endpoint above
// all. Each configuration has its own, so that a reload begins anew.
type listeners struct {
	mu         sync.Mutex
	configured []netip.AddrPort
	all        []netip.AddrPort
	until      time.Time
}

// sockets is listeningSockets, but for tests, whose receivers are in this process.
var sockets = listeningSockets

// get returns the addresses as they are now, or were a moment ago.
func (l *listeners) get(app *caddyhttp.App) []netip.AddrPort {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.until) {
		return l.all
	}
	if l.configured == nil {
		for _, server := range app.Servers {
			for _, listen := range server.Listen {
				l.configured = append(l.configured, addrPorts(listen)...)
			}
		}
	}
	l.all = append(sockets(), l.configured...)
	l.until = now.Add(socketsFor)
	return l.all
}

// addrPorts are the addresses of a listener as it is configured; none for a
// unix socket. No host is every address.
func addrPorts(listen string) []netip.AddrPort {
	address, err := caddy.ParseNetworkAddress(listen)
	if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() {
		return nil
	}
	var ips []netip.Addr
	switch parsed, err := netip.ParseAddr(address.Host); {
	case err == nil:
		ips = append(ips, parsed)
	case address.Host == "":
		ips = append(ips, netip.IPv6Unspecified())
	case address.Host == "localhost":
		ips = append(ips, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	}
	// Any other name is one that the system resolves when it listens.
	var out []netip.AddrPort
	for i := range address.PortRangeSize() {
		for _, ip := range ips {
			out = append(out, netip.AddrPortFrom(ip, uint16(address.StartPort+i)))
		}
	}
	return out
}
