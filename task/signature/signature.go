// Package signature signs callbacks, so that whoever receives one can tell
// that it comes from here, is unaltered and is not an old one sent again.
//
// Every callback is signed twice. The headers webhook-id, webhook-timestamp
// and webhook-signature are Standard Webhooks 1.0 (standardwebhooks.com), with
// one v1 signature (HMAC-SHA256) for each secret and one v1a signature
// (Ed25519) for each private key if the body has at most 16 MiB; that project's libraries verify them.
// X-Callback-Signature is the plain HMAC-SHA256 of the body, for a receiver
// that wants to verify with ten lines of its own; it knows no timestamp, so
// it does not tell an old callback from a new one. RFC 9421 HTTP Message
// Signatures can be added.
//
// See [Key] for what a key looks like.
package signature

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/ringback/ringback/task"
)

// The headers of a signed callback, in canonical form.
const (
	HeaderID        = "Webhook-Id"        // the same for all attempts to deliver a callback
	HeaderTimestamp = "Webhook-Timestamp" // Unix seconds of the attempt
	HeaderSignature = "Webhook-Signature" // "v1,BASE64 v1a,BASE64 …"
	HeaderPlain     = "X-Callback-Signature"
)

// Config says which keys sign which callbacks.
type Config struct {
	// Keys sign the callbacks to every host that has none of its own in Hosts:
	// secrets and private keys in any order. Several of a kind are for rotation:
	// put the new one first, and take the old one away when all receivers know
	// the new. Empty: only callbacks to Hosts are signed.
	Keys []Key
	// Hosts are destinations with keys of their own, which take the place of
	// Keys. A name is a host without a port (it holds for all ports), or
	// "*.example.com" for all subdomains of example.com at any depth, but not
	// for example.com itself. An exact name goes before a pattern, and a longer
	// pattern before a shorter one.
	Hosts map[string][]Key
	// KeyID turns on RFC 9421 HTTP Message Signatures and is their keyid. Such a
	// signature is made with one key: the first private key (ed25519), or if
	// there is none the first secret (hmac-sha256). When that key changes, KeyID
	// should change, too. Empty: off.
	KeyID string
}

// Signer signs callbacks. It is safe for concurrent use.
type Signer struct {
	fallback *keyring // nil: no keys but those of hosts
	hosts    hosts
	message  *messageSigner // nil: no RFC 9421
}

// New returns a Signer for a configuration. It says what is wrong with a key
// without showing it.
func New(config Config) (*Signer, error) {
	if len(config.Keys) == 0 && len(config.Hosts) == 0 {
		return nil, errors.New("there is no key to sign with")
	}
	s := new(Signer)
	var err error
	if len(config.Keys) > 0 {
		if s.fallback, err = newKeyring(config.Keys); err != nil {
			return nil, err
		}
	}
	if s.hosts, err = newHosts(config.Hosts); err != nil {
		return nil, err
	}
	if config.KeyID != "" {
		if s.message, err = newMessageSigner(config.KeyID); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Sign sets the signature headers of a message in header, replacing those of
// an earlier attempt. It does nothing if there is no key for the destination.
//
// It reads the body once, and holds it only for a private key and up to 16 MiB;
// a larger body gets no v1a signature. An error means that the body could not be
// read, was not message.Size bytes long, is too large for Ed25519 with no secret
// to sign it instead, that ctx has ended, or that message has no usable ID or
// URL. The callback must not be sent then.
func (s *Signer) Sign(ctx context.Context, header http.Header, message task.Message) error {
	keys := s.fallback
	if own := s.hosts.find(message.URL); own != nil {
		keys = own
	}
	if keys == nil {
		return nil
	}
	if err := checkID(message.ID); err != nil {
		return err
	}

	p := keys.passes.Get().(*pass)
	defer keys.release(p)
	p.begin(message.ID, message.At.Unix())
	if err := p.read(ctx, message, s.message != nil); err != nil {
		return fmt.Errorf("sign callback: %w", err)
	}

	// One array for the values of all headers, as net/http does when it reads
	// them: fewer allocations.
	values := [...]string{
		message.ID,
		strconv.FormatInt(message.At.Unix(), 10),
		p.signatures(),
		p.plain(),
	}
	header[HeaderID] = values[0:1:1]
	header[HeaderTimestamp] = values[1:2:2]
	header[HeaderSignature] = values[2:3:3]
	if values[3] != "" {
		header[HeaderPlain] = values[3:4:4]
	} else {
		header.Del(HeaderPlain)
	}
	if s.message != nil {
		return s.message.sign(header, message, keys, p.digest.Sum(p.sum[:0]))
	}
	return nil
}

// Format implements [fmt.Formatter]: a Signer does not show its keys.
func (s *Signer) Format(f fmt.State, _ rune) { io.WriteString(f, "signature.Signer("+redacted+")") }

// checkID refuses what would make the signed text ambiguous (a full stop ends
// the id in it) or can't be a header's value.
func checkID(id string) error {
	if id == "" {
		return errors.New("sign callback: the message has no id")
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '.' {
			return fmt.Errorf("sign callback: message id %q may only have visible ASCII characters, and no full stop", id)
		}
	}
	return nil
}

// Interface guards
var (
	_ task.Signer   = (*Signer)(nil)
	_ fmt.Formatter = (*Signer)(nil)
)
