package destination

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/net/http/httpproxy"
)

// Options are what a policy needs to know of its surroundings.
type Options struct {
	// Resolver resolves names, both to check and to dial. Nil: net.DefaultResolver.
	Resolver *net.Resolver
	// Own returns the addresses that this process listens on, and must be quick
	// and safe for concurrent use: it is called for each check. An unspecified
	// address (":443") stands for every address of this machine's interfaces at
	// that port. An address that only a translator in front of the machine knows
	// can't be recognised as its own. Nil: none.
	Own func() []netip.AddrPort
	// TLS is how connections of callbacks are secured. Nil: as crypto/tls does.
	TLS *tls.Config
}

// Policy decides which callback URLs may be called. It is safe for concurrent use.
type Policy struct {
	allow       []rule
	only        []rule
	onlyAddrs   bool // only has entries that are about addresses
	plain       bool // http to public addresses
	credentials bool
	proxy       func(*url.URL) (*url.URL, error) // nil: no proxy

	resolver *net.Resolver
	own      own
	tls      *tls.Config
	names    *lru.Cache[string, resolved]
}

// New makes a policy of rules. Its errors say which rule is wrong and what it
// might be.
func New(rules Rules, options Options) (*Policy, error) {
	p := &Policy{
		credentials: rules.Credentials,
		resolver:    options.Resolver,
		own:         own{listeners: options.Own, interfaces: net.InterfaceAddrs},
		tls:         options.TLS,
	}
	if p.resolver == nil {
		p.resolver = net.DefaultResolver
	}
	if err := p.parseRules(rules); err != nil {
		return nil, err
	}
	var err error
	if p.proxy, err = proxyOf(rules.Proxy); err != nil {
		return nil, err
	}
	if p.names, err = lru.New[string, resolved](maxNames); err != nil {
		return nil, err
	}
	return p, nil
}

func proxyOf(proxy string) (func(*url.URL) (*url.URL, error), error) {
	switch proxy {
	case "":
		return nil, nil
	case "environment":
		return httpproxy.FromEnvironment().ProxyFunc(), nil
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		// Not the text itself: it may hold a password.
		return nil, errors.New(`proxy: want "environment", or a URL with scheme http, https, socks5 or socks5h`)
	}
	return func(*url.URL) (*url.URL, error) { return u, nil }, nil
}

// judge is the decision about one address of a target.
func (p *Policy) judge(t *target, ip netip.Addr) *RefusedError {
	a := addressOf(ip)
	if len(p.only) > 0 && !hasAny(p.only, t, &a) {
		return refuseUnlisted(t)
	}
	if m, ok := a.metadata(); ok && !slices.ContainsFunc(p.allow, func(r rule) bool { return r.names(m, t.port) }) {
		return refuse(t, a.Addr, notPublic, fmt.Sprintf("which is a cloud's metadata address; if callbacks are to go there, add `allow %s`", m))
	}
	if p.own.has(&a, t.port) && !p.allowsOwn(t, &a) {
		reason := notPublic
		if a.public() || hasAny(p.allow, t, &a) { // or it would tell what listens inside
			reason = "they would come back to this server"
		}
		return refuse(t, a.Addr, reason,
			fmt.Sprintf("where this server itself listens; if callbacks are to go there, add `allow %s`", t.hostPort()))
	}
	if hasAny(p.allow, t, &a) {
		return nil
	}
	if !a.public() {
		hint := fmt.Sprintf("which is not public; if callbacks are to go there, add `allow %s`", a.rangeToAllow())
		if a.private() {
			hint += " or `allow private`"
		}
		return refuse(t, a.Addr, notPublic, hint)
	}
	if !t.https && !p.plain {
		return refusePlain(t)
	}
	return nil
}

// hasAny says that one of the rules is about the target at that address.
func hasAny(rules []rule, t *target, a *address) bool {
	for i := range rules {
		if rules[i].hasName(t) || rules[i].hasAddr(a, t.port) {
			return true
		}
	}
	return false
}

// hasAnyName says that one of the rules is about the target's name.
func hasAnyName(rules []rule, t *target) bool {
	for i := range rules {
		if rules[i].hasName(t) {
			return true
		}
	}
	return false
}

// allowsOwn says that a rule names the target's very address or host, with the port.
func (p *Policy) allowsOwn(t *target, a *address) bool {
	return slices.ContainsFunc(p.allow, func(r rule) bool {
		return r.port == t.port && (r.names(a.Addr, t.port) || !r.below && r.hasName(t))
	})
}

// proxied returns the proxy that a URL is called by; nil if none.
func (p *Policy) proxied(u *url.URL) (*url.URL, error) {
	if p.proxy == nil {
		return nil, nil
	}
	return p.proxy(u)
}

// Transport returns a new transport that enforces the policy.
func (p *Policy) Transport() *Transport {
	t := &Transport{policy: p}
	t.dialer = &net.Dialer{Timeout: dialTimeout, Resolver: p.resolver, ControlContext: t.guard}
	t.http = newHTTPTransport(p, t.dial)
	return t
}

var _ http.RoundTripper = (*Transport)(nil)
