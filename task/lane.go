package task

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// maxTrials is how many deliveries to hosts of which nothing good is known run
// at once, in all.
const maxTrials = 1024

// callLane is the lane of a route's calls, by its number in stores.
func callLane(route uint64) string { return strconv.FormatUint(route, 36) }

// deliveryLane is the lane of a task's callback: the host that it goes to.
func (t *Task) deliveryLane() string { return hostLane(t.CallbackURL()) }

// hostLane is the host of a URL, and its port if that is not the usual one, in
// the one spelling of many that name it.
func hostLane(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(none)"
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if address, err := netip.ParseAddr(host); err == nil {
		host = address.Unmap().String()
	}
	switch port := u.Port(); {
	case port == "", port == "443" && u.Scheme == "https", port == "80" && u.Scheme == "http":
		return host
	default:
		return host + " " + port
	}
}

// registrableDomain is whom a host belongs to, as far as its lane tells: the
// domain that somebody has registered, or the network of an address.
func registrableDomain(lane string) string {
	host, _, _ := strings.Cut(lane, " ")
	if address, err := netip.ParseAddr(host); err == nil {
		bits := 24
		if address.Is6() {
			bits = 48
		}
		network, err := address.WithZone("").Prefix(bits)
		if err != nil {
			return host
		}
		return network.String()
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}
	return domain
}

// parkedLane is where deliveries wait for their route to be configured again:
// without it there is no secret to sign with, nor a policy for the address.
func parkedLane(route string) string { return parkedPrefix + route }

// parkedPrefix is what no host begins with.
const parkedPrefix = "/"
