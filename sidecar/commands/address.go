package commands

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// origin is where the sidecar takes requests.
type origin struct {
	listen string
	host   string // requests for other hosts are not served; empty: for all
	https  bool
}

// parseFrom reads --from. An IP address or localhost is an address to listen
// on, and plain http unless it says https://. Any other host is a domain: it
// gets HTTPS unless it says http://, on all addresses of the machine.
func parseFrom(from string) (origin, error) {
	a, err := httpcaddyfile.ParseAddress(from)
	if err != nil {
		return origin{}, fmt.Errorf("--from is %q: %w", from, err)
	}
	if a.Scheme != "" && a.Scheme != "http" && a.Scheme != "https" {
		return origin{}, fmt.Errorf("--from is %q: its scheme must be http or https", from)
	}
	if a.Path != "" && a.Path != "/" {
		return origin{}, fmt.Errorf("--from is %q: it can't have a path; use --match for that", from)
	}
	if isPort(a.Host) { // and no domain
		return origin{}, fmt.Errorf("--from is %q: a port alone is written :%s", from, a.Host)
	}
	ip, notIP := netip.ParseAddr(strings.Trim(a.Host, "[]"))
	local := a.Host == "" || a.Host == "localhost" || notIP == nil
	o := origin{https: a.Scheme == "https" || a.Scheme == "" && !local && a.Port != strconv.Itoa(caddyhttp.DefaultHTTPPort)}
	port := a.Port
	switch {
	case port != "":
	case o.https:
		port = strconv.Itoa(caddyhttp.DefaultHTTPSPort)
	default:
		port = strconv.Itoa(caddyhttp.DefaultHTTPPort)
	}
	switch {
	case notIP == nil:
		o.listen = net.JoinHostPort(ip.String(), port)
	case a.Host == "localhost":
		o.listen = "localhost:" + port
	default:
		o.listen = ":" + port
	}
	if o.https && a.Host == "" {
		return origin{}, fmt.Errorf("--from is %q: https needs a host for its certificate, such as https://example.com", from)
	}
	if !local || o.https {
		o.host = a.Host
	}
	return o, nil
}

// isPort says that a host is just a number.
func isPort(host string) bool { return host != "" && strings.Trim(host, "0123456789") == "" }

// parseTo reads all --to into addresses to dial, and whether by TLS.
func parseTo(to []string) (dial []string, https bool, err error) {
	for i, text := range to {
		address, secure, err := parseUpstream(text)
		if err != nil {
			return nil, false, fmt.Errorf("--to is %q: %w", text, err)
		}
		if i > 0 && secure != https {
			return nil, false, fmt.Errorf("--to has http and https addresses: all must be of one kind")
		}
		dial, https = append(dial, address), secure
	}
	return dial, https, nil
}

func parseUpstream(text string) (dial string, https bool, err error) {
	if strings.HasPrefix(text, "unix/") {
		return text, false, nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", false, fmt.Errorf("it can't be read: want http://host:port, https://host or host:port")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", false, fmt.Errorf("scheme %s is not possible: want http or https", u.Scheme)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", false, fmt.Errorf("it can only have a scheme, a host and a port: the path comes from the request")
	}
	host, port := u.Hostname(), u.Port()
	if isPort(host) {
		return "", false, fmt.Errorf("a port alone is written :%s", host)
	}
	if host == "" {
		host = "localhost"
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return "", false, fmt.Errorf("port %s is not possible: want 1 to 65535", port)
	}
	https = u.Scheme == "https"
	if port == "" && https {
		port = "443"
	} else if port == "" {
		port = "80"
	}
	return net.JoinHostPort(host, port), https, nil
}

// checkLoop finds a backend that is the sidecar itself.
func (o *options) checkLoop() error {
	from, err := parseFrom(o.from)
	if err != nil {
		return err
	}
	for _, to := range o.to {
		dial, _, err := parseTo([]string{to})
		if err != nil {
			return err
		}
		if from.takes(dial[0]) {
			return fmt.Errorf("--to is %q, which is where --from takes requests: want the backend's own address", to)
		}
	}
	return nil
}

// takes says that a connection to the address surely comes in here.
func (o origin) takes(dial string) bool {
	host, port, err := net.SplitHostPort(dial)
	if err != nil { // a unix socket
		return false
	}
	at, on, err := net.SplitHostPort(o.listen)
	if err != nil || on != port {
		return false
	}
	if ip, err := netip.ParseAddr(at); at == "" || err == nil && ip.IsUnspecified() {
		ip, err := netip.ParseAddr(host)
		return host == "localhost" || err == nil && (ip.IsLoopback() || ip.IsUnspecified())
	}
	for _, a := range loopback(at) {
		for _, b := range loopback(host) {
			if a == b {
				return true
			}
		}
	}
	return false
}

// loopback are the addresses that a host stands for, if it is this machine by
// name or by any address; else just the host.
func loopback(host string) []string {
	switch host {
	case "localhost":
		return []string{"127.0.0.1", "::1"}
	case "0.0.0.0":
		return []string{"127.0.0.1"}
	case "::":
		return []string{"::1", "127.0.0.1"}
	}
	return []string{host}
}
