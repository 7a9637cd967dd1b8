package destination

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"code.dny.dev/ssrf"
)

// Rules say which callback URLs may be called, besides https ones to public
// addresses. Allow widens that and Only narrows it; neither does the other's
// work.
type Rules struct {
	// Allow lists what may be called as well, by http or https. Each is one of:
	//
	//	private                loopback, private, link-local and shared ranges
	//	10.0.0.0/8, fd12::/16  a range of addresses
	//	10.1.2.3, ::1          an address; 10.1.2.3:8080, [::1]:8080 at one port
	//	hooks.example.com      a host, wherever its name leads; :8080 as above
	//	*.example.com          the hosts below a name, but not that name itself
	//	http                   plain http to public addresses, too
	//
	// The metadata addresses of clouds are allowed only by a rule for the very
	// address, and this server's own listeners by one for the very address or
	// host with its port.
	Allow []string `json:"allow,omitempty"`
	// Only, if not empty, lists all that may be called: ranges, addresses and
	// hosts as in Allow. What is not public needs to be in Allow as well, since
	// whoever owns a name can let it lead anywhere.
	Only []string `json:"only,omitempty"`
	// Credentials permits a user name and password in callback URLs; they are
	// sent as Basic authentication.
	Credentials bool `json:"credentials,omitempty"`
	// Proxy is how callbacks leave: empty is directly, whatever the environment
	// says; "environment" heeds HTTP_PROXY, HTTPS_PROXY and NO_PROXY; a URL
	// (http, https, socks5, socks5h) is that proxy. A proxy resolves names
	// itself, so what it may reach is for it to guard: the rules then see only
	// what names resolve to here, if they do.
	Proxy string `json:"proxy,omitempty"`
}

const ruleForms = "private, http, an address (10.1.2.3), a range (10.0.0.0/8), " +
	"a host (hooks.example.com) or the hosts below a name (*.example.com); hosts and addresses may have a :port"

// rule is an entry of Allow or Only. One of private, prefix and name is set.
type rule struct {
	private bool
	prefix  netip.Prefix
	name    string // lower case, ASCII, no trailing dot
	below   bool   // name was *.name
	port    uint16 // 0: any
}

func parseRule(text string) (rule, error) {
	var r rule
	if text == "private" {
		r.private = true
		return r, nil
	}
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		switch {
		case strings.Contains(text, "://"):
			return r, fmt.Errorf("it is a URL; want %s", ruleForms)
		case err != nil:
			return r, fmt.Errorf("it is not a range of addresses; want %s", ruleForms)
		case p.Addr().Is4In6():
			return r, fmt.Errorf("write the range as IPv4")
		case p != p.Masked():
			return r, fmt.Errorf("the range begins at %s: write %s for it, or %s for the address", p.Masked().Addr(), p.Masked(), p.Addr())
		}
		r.prefix = p
		return r, nil
	}

	host := text
	if _, err := netip.ParseAddr(text); err != nil { // or its colons would be taken for a port's
		if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
			if r.port, err = parsePort(text[i+1:]); err != nil {
				return r, fmt.Errorf("%q is not a port; want one between 1 and 65535", text[i+1:])
			}
			host = text[:i]
		}
		if inner, ok := strings.CutPrefix(host, "["); ok {
			host = strings.TrimSuffix(inner, "]")
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return r, fmt.Errorf("addresses in rules have no zone: write %s", ip.WithZone(""))
		}
		ip = ip.Unmap()
		r.prefix = netip.PrefixFrom(ip, ip.BitLen())
		return r, nil
	}
	if host == "*" {
		return r, fmt.Errorf("it would allow everything; name ranges, or hosts as *.example.com")
	}
	host, r.below = strings.CutPrefix(host, "*.")
	name, err := asciiHost(host)
	if err != nil {
		return r, fmt.Errorf("want %s", ruleForms)
	}
	r.name = strings.TrimSuffix(name, ".")
	return r, nil
}

// hasName says that the rule is about the target's name, whatever its address.
func (r *rule) hasName(t *target) bool {
	if r.name == "" || t.name == "" || r.port != 0 && r.port != t.port {
		return false
	}
	if r.below {
		n := len(t.name) - len(r.name)
		return n > 1 && t.name[n-1] == '.' && t.name[n:] == r.name
	}
	return t.name == r.name
}

// hasAddr says that the rule is about the address.
func (r *rule) hasAddr(a *address, port uint16) bool {
	if r.port != 0 && r.port != port {
		return false
	}
	return r.private && a.private() || r.prefix.IsValid() && r.prefix.Contains(a.Addr)
}

// names says that the rule is about this very address, and no range of them.
func (r *rule) names(ip netip.Addr, port uint16) bool {
	return r.prefix.IsSingleIP() && r.prefix.Addr() == ip && (r.port == 0 || r.port == port)
}

// parseRules fills in what a policy makes of the rules' two lists.
func (p *Policy) parseRules(rules Rules) error {
	for _, text := range rules.Allow {
		if text = strings.TrimSpace(text); text == "http" {
			p.plain = true
			continue
		}
		r, err := parseRule(text)
		if err != nil {
			return fmt.Errorf("allow %s: %w", text, err)
		}
		p.allow = append(p.allow, r)
	}
	for _, text := range rules.Only {
		if text = strings.TrimSpace(text); text == "http" {
			return fmt.Errorf("only http: http is for allow; only wants ranges, addresses and hosts")
		}
		r, err := parseRule(text)
		if err != nil {
			return fmt.Errorf("only %s: %w", text, err)
		}
		if r.name == "" && !p.reaches(&r) {
			return fmt.Errorf("only %s: nothing there is public, so that nothing could be called; add `allow %s`", text, text)
		}
		p.only = append(p.only, r)
		p.onlyAddrs = p.onlyAddrs || r.name == ""
	}
	return nil
}

// reaches says that some address of an entry of Only may be called, be it
// because it is public or because Allow has it (or, by a name, might).
func (p *Policy) reaches(only *rule) bool {
	if only.prefix.IsValid() && !special(only.prefix) {
		return true
	}
	return slices.ContainsFunc(p.allow, func(r rule) bool {
		switch {
		case r.name != "":
			return true
		case r.private:
			return only.private || slices.ContainsFunc(privateRanges, only.prefix.Overlaps)
		case only.private:
			return slices.ContainsFunc(privateRanges, r.prefix.Overlaps)
		default:
			return r.prefix.Overlaps(only.prefix)
		}
	})
}

// special says that no address of the range is public.
func special(p netip.Prefix) bool {
	for _, list := range [][]netip.Prefix{ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes} {
		for _, s := range list {
			if s.Bits() <= p.Bits() && s.Contains(p.Addr()) {
				return true
			}
		}
	}
	return p.Addr().Is6() && !p.Overlaps(ssrf.IPv6GlobalUnicast) && !p.Overlaps(nat64)
}
