package destination

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// RefusedError says that the policy does not let callbacks go to a host. From
// a [Transport] it may mean something new, since a name can lead elsewhere
// than it did when it was checked, and back.
type RefusedError struct {
	// Host is the host, and port if any, as in the URL.
	Host string
	// Reason is why, in words for the client: no address but what the URL has.
	Reason string
	// Hint is for the operator's log and nobody else: the address that the host
	// turned out to have, and the option that would allow it.
	Hint string
}

// Error is for everybody: it does not tell the Hint.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("callbacks to %s are not allowed: %s", e.Host, e.Reason)
}

// ClientMessage is what the client reads in the log of its task's deliveries.
func (e *RefusedError) ClientMessage() string { return "callbacks there are not allowed: " + e.Reason }

// OperatorHint is the Hint.
func (e *RefusedError) OperatorHint() string { return e.Hint }

// hint is a refusal as the operator's log has it.
type hint struct{ *RefusedError }

func (h hint) Error() string { return h.Hint }
func (h hint) Unwrap() error { return h.RefusedError }

// notPublic is why an address is refused, and leadsNowhere why a name is: one
// that does not exist, and one that leads to addresses that are refused, so that
// nobody learns which names there are inside.
const (
	notPublic    = "only public addresses may be called"
	leadsNowhere = "its name leads to no address that may be called"
)

// refuse makes the refusal of an address; why follows it in the hint.
func refuse(t *target, ip netip.Addr, reason, why string) *RefusedError {
	what := ip.String() + " is an address "
	if t.name != "" {
		what = t.name + " leads to " + ip.String() + ", "
		if reason == notPublic {
			reason = leadsNowhere
		}
	}
	return &RefusedError{Host: t.authority, Reason: reason, Hint: what + why}
}

func refuseUnknown(t *target) *RefusedError {
	return &RefusedError{Host: t.authority, Reason: leadsNowhere, Hint: t.name + " does not exist, as far as this server's resolver knows"}
}

func refusePlain(t *target) *RefusedError {
	return &RefusedError{
		Host:   t.authority,
		Reason: "plain http is not allowed, use https",
		Hint:   fmt.Sprintf("to allow plain http there, add `allow %s`; to all public addresses, `allow http`", t.ruleName()),
	}
}

func refuseUnlisted(t *target) *RefusedError {
	return &RefusedError{
		Host:   t.authority,
		Reason: "it is not one of the hosts that may be called",
		Hint:   fmt.Sprintf("it is not in `only`; if callbacks are to go there, add `only %s`", t.ruleName()),
	}
}

// ruleName is the host as a rule has it.
func (t *target) ruleName() string {
	if t.name != "" {
		return t.name
	}
	return addressOf(t.ip).String()
}

// hostPort is host and port as a rule has them.
func (t *target) hostPort() string {
	return net.JoinHostPort(t.ruleName(), strconv.Itoa(int(t.port)))
}
