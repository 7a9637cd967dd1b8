package destination

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/ringback/ringback/task"
)

const (
	// lookupTimeout is how long a check waits for a name's addresses.
	lookupTimeout = 2 * time.Second
	// namesFor is how long a name's addresses are remembered by checks, and
	// failuresFor that it had none. Dialling remembers nothing.
	namesFor    = 30 * time.Second
	failuresFor = 5 * time.Second
	// maxNames is how many names are remembered.
	maxNames = 4096
)

// resolved is what is remembered of a name.
type resolved struct {
	addrs []netip.Addr
	err   error // errNoSuchHost, errUnresolved
	until time.Time
}

var (
	errNoSuchHost = errors.New("no such host")
	errUnresolved = errors.New("the name can't be resolved at the moment")
)

// Check returns nil for a URL that may be called, as far as can be told before
// connecting; [Policy.Transport] has the last word. Otherwise it returns a
// *task.Problem: 400 for a URL that is no good, 403 for one that the policy
// refuses, or whose host does not exist: whether a name exists is not told. The problem's Cause, for the operator, has the option that would
// allow it, and wraps a *RefusedError.
//
// A host that is a name is resolved, within 2 seconds. It passes if one of its
// addresses may be called, and also when it can't be resolved at the moment.
// Names that a rule allows are not resolved.
func (p *Policy) Check(ctx context.Context, u *url.URL) error {
	t, err := p.admit(u)
	if err != nil {
		return err
	}
	proxy, _ := p.proxied(u) // its error is the delivery's
	if refused := p.decide(ctx, &t, proxy != nil); refused != nil {
		return task.NewProblem(http.StatusForbidden, task.ProblemForbiddenURL, refused.Error()).Because(hint{refused})
	}
	return nil
}

// admit refuses what is wrong with a URL in itself.
func (p *Policy) admit(u *url.URL) (target, error) {
	if len(u.Host)+len(u.Path)+len(u.RawQuery) > MaxURLLength {
		return target{}, badURL("it is longer than %d bytes", MaxURLLength)
	}
	t, err := targetOf(u)
	if err != nil {
		return t, err
	}
	if u.User != nil && !p.credentials {
		return t, badURL("it must not contain a user name or password")
	}
	return t, nil
}

// decide returns nil or a *RefusedError. By proxy, nobody
// looks at the address again: then every address must be allowed, and what
// can't be told from addresses must be from the name.
func (p *Policy) decide(ctx context.Context, t *target, proxy bool) *RefusedError {
	if t.ip.IsValid() {
		return p.judge(t, t.ip)
	}
	listed := len(p.only) == 0 || hasAnyName(p.only, t)
	if !listed && !p.onlyAddrs {
		return refuseUnlisted(t)
	}
	allowed := hasAnyName(p.allow, t)
	if listed && allowed && !proxy {
		return nil
	}

	addrs, err := p.lookup(ctx, t.host)
	switch {
	case err != nil && proxy: // the proxy may know the name
		if !listed {
			return refuseUnlisted(t)
		}
		if !allowed && !t.https && !p.plain {
			return refusePlain(t)
		}
		return nil
	case err == errNoSuchHost && !listed:
		return refuseUnlisted(t)
	case err == errNoSuchHost:
		return refuseUnknown(t)
	case err != nil:
		return nil
	}
	var first *RefusedError
	for _, ip := range addrs {
		refused := p.judge(t, ip)
		if refused == nil && !proxy {
			return nil
		}
		if first == nil {
			first = refused
		}
	}
	return first
}

// lookup returns a name's addresses, at least one; else errNoSuchHost or
// errUnresolved.
func (p *Policy) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if known, ok := p.names.Get(host); ok && time.Now().Before(known.until) {
		return known.addrs, known.err
	}
	lookup, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := p.resolver.LookupNetIP(lookup, "ip", host)
	found := resolved{addrs: addrs, until: time.Now().Add(namesFor)}
	if err != nil || len(addrs) == 0 {
		if ctx.Err() != nil { // says nothing about the name
			return nil, errUnresolved
		}
		found = resolved{err: errUnresolved, until: time.Now().Add(failuresFor)}
		if dns, ok := errors.AsType[*net.DNSError](err); err == nil || ok && dns.IsNotFound {
			found.err = errNoSuchHost
		}
	}
	p.names.Add(host, found)
	return found.addrs, found.err
}
