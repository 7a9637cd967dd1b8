package destination

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// interfacesFor is how long the addresses of this machine are taken to stay.
const interfacesFor = 10 * time.Second

// own knows at which addresses this process itself listens.
type own struct {
	listeners  func() []netip.AddrPort
	interfaces func() ([]net.Addr, error)
	latest     atomic.Pointer[local]
}

// local are the addresses of this machine at a time.
type local struct {
	addrs map[netip.Addr]bool
	until time.Time
}

// has says that this process listens at the address and port.
func (o *own) has(a *address, port uint16) bool {
	if o.listeners == nil {
		return false
	}
	for _, l := range o.listeners() {
		if l.Port() != port {
			continue
		}
		at := l.Addr().Unmap().WithZone("")
		if o.same(a.Addr, at) || a.n > 0 && o.same(a.inner[0], at) || a.n > 1 && o.same(a.inner[1], at) {
			return true
		}
	}
	return false
}

func (o *own) same(ip, listener netip.Addr) bool {
	if !listener.IsValid() || listener.IsUnspecified() {
		return ip.IsLoopback() || o.local()[ip]
	}
	return ip == listener
}

// local returns the addresses of this machine. If they can't be had, the
// latest known ones stay.
func (o *own) local() map[netip.Addr]bool {
	known, now := o.latest.Load(), time.Now()
	if known != nil && now.Before(known.until) {
		return known.addrs
	}
	list, err := o.interfaces()
	if err != nil && known != nil {
		return known.addrs
	}
	fresh := &local{addrs: make(map[netip.Addr]bool, len(list)), until: now.Add(interfacesFor)}
	for _, item := range list {
		if n, ok := item.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				fresh.addrs[ip.Unmap()] = true
			}
		}
	}
	o.latest.Store(fresh)
	return fresh.addrs
}
