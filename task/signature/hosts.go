package signature

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// hosts are the destinations that have keys of their own, by name; a pattern
// "*.example.com" is kept as ".example.com".
type hosts map[string]*keyring

func newHosts(config map[string][]Key) (hosts, error) {
	found := make(hosts, len(config))
	for _, name := range slices.Sorted(maps.Keys(config)) {
		if err := checkHost(name); err != nil {
			return nil, err
		}
		normal := normalHost(strings.TrimPrefix(name, "*"))
		if found[normal] != nil {
			return nil, fmt.Errorf("host %q is there twice, in another spelling: join the two", name)
		}
		if len(config[name]) == 0 {
			return nil, fmt.Errorf("host %q has no keys: give it some, or take it away", name)
		}
		keys, err := newKeyring(config[name])
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", name, err)
		}
		found[normal] = keys
	}
	return found, nil
}

func checkHost(name string) error {
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return nil
	}
	rest := strings.TrimPrefix(name, "*.")
	if rest == "" || strings.HasPrefix(rest, ".") || strings.ContainsAny(rest, "*:/@?# \t") {
		return fmt.Errorf(`host %q is not a host: want "example.com", without scheme and port, or "*.example.com"`, name)
	}
	return nil
}

// find returns the keys of a destination; nil if it has none of its own.
func (h hosts) find(u *url.URL) *keyring {
	if len(h) == 0 || u == nil {
		return nil
	}
	name := normalHost(u.Hostname())
	if keys := h[name]; keys != nil {
		return keys
	}
	for {
		// The dot that ends the first label begins the pattern.
		dot := strings.IndexByte(name[min(1, len(name)):], '.')
		if dot < 0 {
			return nil
		}
		name = name[dot+1:]
		if keys := h[name]; keys != nil {
			return keys
		}
	}
}

// normalHost is the one spelling of a host that a client may spell in many
// ways: lower case, in ASCII, without the root's dot or an address's brackets.
func normalHost(name string) string {
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.String()
	}
	dot := strings.HasPrefix(name, ".")
	if ascii, err := idna.Lookup.ToASCII(strings.TrimPrefix(name, ".")); err == nil {
		name = ascii
		if dot {
			name = "." + ascii
		}
	}
	return strings.ToLower(name)
}
