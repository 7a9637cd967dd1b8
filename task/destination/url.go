package destination

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/ringback/ringback/task"
)

// MaxURLLength is the length of the longest callback URL, in bytes.
const MaxURLLength = 8 << 10

// ParseURL reads a callback URL: absolute, http or https, with a host. The
// result has the host in the form in which it is dialled (lower case, ASCII,
// see [idna.Lookup]) and no fragment, which is never sent. An error is a
// *task.Problem with status 400, and never repeats more of the URL than its
// host or scheme. Whether the URL may be called, and may have a user name and
// password, is for [Policy.Check] to say.
func ParseURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, badURL("it is empty")
	}
	if len(raw) > MaxURLLength {
		return nil, badURL("it is longer than %d bytes", MaxURLLength)
	}
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c <= ' ' || c == 0x7f:
			return nil, badURL("it contains a space or control character: percent-encode it")
		case c == '\\': // what a browser would take for a slash, and others not
			return nil, badURL("it contains a backslash: write %%5C")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, badURL("it can't be parsed: %s", parseReason(err))
	}
	t, err := targetOf(u)
	if err != nil {
		return nil, err
	}
	u.Host = t.authority
	u.Fragment, u.RawFragment = "", ""
	if len(u.String()) > MaxURLLength { // what was not percent-encoded now is, and longer
		return nil, badURL("it is longer than %d bytes when percent-encoded", MaxURLLength)
	}
	return u, nil
}

// parseReason is the error of url.Parse without the URL, which may hold secrets.
func parseReason(err error) string {
	if e, ok := err.(*url.Error); ok {
		err = e.Err
	}
	switch err := err.(type) {
	case url.EscapeError:
		return "bad percent-encoding"
	case url.InvalidHostError:
		return "bad character in the host"
	default:
		if strings.Contains(err.Error(), "userinfo") {
			return "bad user name or password"
		}
		if strings.Contains(err.Error(), "port") {
			return "bad port"
		}
		return "it is malformed"
	}
}

// target is what the rules want to know of a URL.
type target struct {
	https bool
	// host is what is dialled: a name, or an address, as written by netip.
	host string
	// name is the name without a trailing dot, for comparing; empty for an address.
	name string
	// ip is the address, if the host is one; else invalid.
	ip   netip.Addr
	port uint16
	// authority is host and port as they stand in the URL: brackets, and no
	// port if there was none.
	authority string
}

// targetOf reads the part of a URL that the rules are about. It does not trust
// the URL to come from ParseURL.
func targetOf(u *url.URL) (target, error) {
	var t target
	switch u.Scheme {
	case "https":
		t.https, t.port = true, 443
	case "http":
		t.port = 80
	case "":
		return t, badURL("it is relative: give an absolute URL, https://...")
	default:
		return t, badURL("its scheme must be https or http")
	}
	host := u.Hostname()
	if host == "" || u.Opaque != "" {
		return t, badURL("it has no host: give an absolute URL, https://...")
	}
	if err := t.setHost(host, strings.HasPrefix(u.Host, "[")); err != nil {
		return t, err
	}

	t.authority = t.host
	if strings.Contains(t.host, ":") {
		t.authority = "[" + t.host + "]"
	}
	if port := u.Port(); port != "" {
		n, err := parsePort(port)
		if err != nil {
			return t, badURL("its port must be between 1 and 65535")
		}
		t.port = n
		if len(u.Host) == len(t.authority)+1+len(port) && port[0] != '0' && strings.HasPrefix(u.Host, t.authority) {
			t.authority = u.Host // as it is: nothing to allocate
		} else {
			t.authority += ":" + strconv.Itoa(int(n))
		}
	}
	return t, nil
}

func (t *target) setHost(host string, brackets bool) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Is6() != brackets {
			return badURL("brackets are for IPv6 addresses, which need them")
		}
		if zone := ip.Zone(); zone != "" && (!ip.IsLinkLocalUnicast() || !isName(zone, true)) {
			return badURL("only link-local addresses have a zone")
		}
		t.ip, t.host = ip, host
		if s := ip.String(); s != host { // [0:0::1]
			t.host = s
		}
		return nil
	}
	if brackets {
		return badURL("%q is not an IPv6 address", host)
	}
	ascii, err := asciiHost(host)
	if err != nil {
		return badURL("%s", err)
	}
	if ip, err := netip.ParseAddr(ascii); err == nil { // ①②⑦.⓪.⓪.①
		t.ip, t.host = ip, ascii
		return nil
	}
	t.host = ascii
	t.name = strings.TrimSuffix(ascii, ".")
	return nil
}

// asciiHost is a host name in lower case and ASCII. A name whose last label is
// a number is an IPv4 address to some (2130706433, 0x7f.1, 0177.0.0.1,
// 127.0.0.1.) and a name to others, so it is an error unless it is four decimal
// numbers to everybody.
func asciiHost(host string) (string, error) {
	ascii := strings.ToLower(host)
	if !isASCII(host) {
		var err error
		if ascii, err = idna.Lookup.ToASCII(host); err != nil || strings.ContainsRune(host, utf8.RuneError) {
			return "", fmt.Errorf("%q is not a host name", host)
		}
	}
	name := strings.TrimSuffix(ascii, ".")
	if len(name) > 253 || !isName(name, false) {
		return "", fmt.Errorf("%q is not a host name", host)
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; isNumber(last) {
		if _, err := netip.ParseAddr(ascii); err != nil {
			return "", fmt.Errorf("%q is not a host name; an IPv4 address is written as four decimal numbers", host)
		}
	}
	return ascii, nil
}

// isName says that s is labels of letters, digits, - and _, with dots between.
// Underscores are no part of host names, yet in use. A zone may have any.
func isName(s string, zone bool) bool {
	label := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', zone && 'A' <= c && c <= 'Z':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
		if label > 63 {
			return false
		}
	}
	return label > 0
}

func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return uint16(n), err
}

func badURL(format string, args ...any) *task.Problem {
	return task.NewProblem(http.StatusBadRequest, task.ProblemBadCallbackURL, "callback URL: "+fmt.Sprintf(format, args...))
}
