//go:build !linux && !darwin

package caddymodule

import (
	"net/netip"

	"github.com/caddyserver/caddy/v2"
)

// listeningSockets are the addresses that this process listens on by TCP. What
// http servers listen on is in the configuration; beside that this only knows
// the default address of the admin endpoint.
func listeningSockets() []netip.AddrPort { return addrPorts(caddy.DefaultAdminListen) }
