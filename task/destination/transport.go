package destination

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	dialTimeout         = 10 * time.Second
	tlsHandshakeTimeout = 10 * time.Second
)

// Transport sends callbacks, and is the guard: it looks at every address
// right before it is dialled. What it refuses is a *RefusedError, other errors
// may tell internal addresses. It follows no redirects. Use
// [Policy.Transport] to make one.
type Transport struct {
	policy *Policy
	http   *http.Transport
	dialer *net.Dialer
}

// newHTTPTransport is made for many callbacks to few hosts as well as to many.
// How long an answer may take is for the request's context to say.
func newHTTPTransport(p *Policy, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	config := &tls.Config{}
	if p.tls != nil {
		config = p.tls.Clone()
	}
	if config.ClientSessionCache == nil { // callbacks to one host may be minutes apart
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1024)
	}
	t := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: tlsHandshakeTimeout,
		ForceAttemptHTTP2:   true,
		HTTP2: &http.HTTP2Config{ // find a dead connection before all its callbacks time out
			SendPingTimeout: 15 * time.Second,
			PingTimeout:     10 * time.Second,
		},
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    256, // the default, 2, costs two fifths of the throughput to one host
		IdleConnTimeout:        60 * time.Second,
		WriteBufferSize:        8 << 10, // head and small body in one write
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // an answer is not read; unpacking it could be made costly
	}
	if p.proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) { return planOf(r.Context()).proxy, nil }
	}
	return t
}

// plan is what the dialler needs to know of the request. It travels in the
// context; a connection that one request asks for may serve another, but only
// one with the same scheme, host, port and proxy.
type plan struct {
	target
	proxy *url.URL // nil: directly
}

type planKey struct{}

func planOf(ctx context.Context) *plan {
	p, _ := ctx.Value(planKey{}).(*plan)
	return p
}

// RoundTrip implements [http.RoundTripper]. A user name and password in the
// URL become Basic authentication, unless the request has its own.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r, err := t.prepare(r)
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	return t.http.RoundTrip(r)
}

// prepare returns a request for the transport to send; with an error, the
// given one.
func (t *Transport) prepare(r *http.Request) (*http.Request, error) {
	target, err := t.policy.admit(r.URL)
	if err != nil {
		return r, err
	}
	proxy, err := t.policy.proxied(r.URL)
	if err != nil {
		return r, fmt.Errorf("proxy of the environment: %w", err)
	}
	if proxy != nil { // the address dialled will be the proxy's: this is all the guard there is
		if refused := t.policy.decide(r.Context(), &target, true); refused != nil {
			return r, refused
		}
	}
	u := *r.URL
	u.Host = target.authority
	u.User = nil
	out := r.WithContext(context.WithValue(r.Context(), planKey{}, &plan{target, proxy}))
	out.URL = &u
	if user := r.URL.User; user != nil && r.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		out.Header = r.Header.Clone()
		if out.Header == nil {
			out.Header = make(http.Header)
		}
		out.SetBasicAuth(user.Username(), password)
	}
	return out, nil
}

// CloseIdleConnections closes connections that no callback uses at the moment.
func (t *Transport) CloseIdleConnections() { t.http.CloseIdleConnections() }

// dial connects. A refusal comes without the address that net would add.
func (t *Transport) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := t.dialer.DialContext(ctx, network, addr)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return nil, refused
	}
	return conn, err
}

// guard is called with each address before it is connected to.
func (t *Transport) guard(ctx context.Context, network, addr string, _ syscall.RawConn) error {
	plan := planOf(ctx)
	if plan == nil || network != "tcp4" && network != "tcp6" {
		return errors.New("not a connection of a callback")
	}
	if plan.proxy != nil { // which the operator chose
		return nil
	}
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	if refused := t.policy.judge(&plan.target, to.Addr()); refused != nil {
		return refused
	}
	return nil
}
