package caddymodule

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// derivedName is the name of a handler that was given none: what a request
// must look like to get there, as far as host, port, method and path tell. It
// is the same after a restart and as long as nobody changes these, and the
// same for a site's http and https servers.
//
//	example.com/reports/*    example.com:8443 POST /api/* /x/*    :9000
func derivedName(app *caddyhttp.App, server *caddyhttp.Server, p position) string {
	var hosts, rest []string
	for _, s := range p {
		var paths, methods []string
		for _, set := range s.on().MatcherSets {
			for _, matcher := range set {
				switch m := matcher.(type) {
				case *caddyhttp.MatchHost:
					hosts = append(hosts, *m...)
				case *caddyhttp.MatchPath:
					paths = append(paths, *m...)
				case *caddyhttp.MatchPathRE:
					paths = append(paths, "~"+m.Pattern)
				case *caddyhttp.MatchMethod:
					methods = append(methods, *m...)
				}
			}
		}
		if len(methods) > 0 {
			rest = append(rest, strings.Join(methods, ","))
		}
		if len(paths) > 0 {
			rest = append(rest, strings.Join(paths, ","))
		}
	}
	slices.Sort(hosts)
	name := strings.Join(slices.Compact(hosts), ",") + portSuffix(app, server)
	if name == "" {
		name = "*"
	}
	if len(rest) > 0 && !strings.HasPrefix(rest[0], "/") {
		name += " "
	}
	return name + strings.Join(rest, " ")
}

// portSuffix tells servers on other ports than those of http and https apart.
func portSuffix(app *caddyhttp.App, server *caddyhttp.Server) string {
	usual := []string{strconv.Itoa(caddyhttp.DefaultHTTPPort), strconv.Itoa(caddyhttp.DefaultHTTPSPort)}
	if app != nil && app.HTTPPort != 0 {
		usual[0] = strconv.Itoa(app.HTTPPort)
	}
	if app != nil && app.HTTPSPort != 0 {
		usual[1] = strconv.Itoa(app.HTTPSPort)
	}
	var ports []string
	for _, listen := range server.Listen {
		address, err := caddy.ParseNetworkAddress(listen)
		if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() {
			ports = append(ports, listen)
			continue
		}
		_, port, err := net.SplitHostPort(address.JoinHostPort(0))
		if err == nil && !slices.Contains(usual, port) {
			ports = append(ports, port)
		}
	}
	if len(ports) == 0 {
		return ""
	}
	slices.Sort(ports)
	return ":" + strings.Join(slices.Compact(ports), ",")
}

// sameNameError says that two handlers that are not alike have one name.
func sameNameError(name string) error {
	return fmt.Errorf("two different callback handlers have the name %q, by which tasks find their handler "+
		"after a restart: give one of them another with the name subdirective", name)
}
