//go:build linux || darwin

package caddymodule

import (
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// listeningSockets are the addresses that this process listens on by TCP, as
// the system knows them: whoever opened them, and however they are configured.
func listeningSockets() []netip.AddrPort {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return nil // what is configured is known all the same
	}
	var out []netip.AddrPort
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// Most are no sockets, or connections.
		if accepts, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil || accepts == 0 {
			continue
		}
		address, err := syscall.Getsockname(fd)
		if err != nil {
			continue
		}
		switch a := address.(type) {
		case *syscall.SockaddrInet4:
			out = append(out, netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)))
		case *syscall.SockaddrInet6:
			out = append(out, netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)))
		}
	}
	return out
}
