package signature

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Key is a key as it is written in a configuration:
//
//	whsec_BASE64   a Standard Webhooks secret; the decoded bytes are the key
//	whsk_BASE64    a Standard Webhooks private key: an Ed25519 seed (32 bytes),
//	               or the seed followed by its public key (64 bytes)
//	anything else  a secret whose bytes are the key, as they are
//
// A secret's key has at least [MinSecret] bytes. Mind that some libraries of
// Standard Webhooks want base64 from whoever verifies, and take a secret without
// the prefix for base64, too: receivers who use them should be given a whsec_
// secret (see [GenerateSecret]), or hand over a plain one as raw bytes.
//
// The key of X-Callback-Signature is the text of the first secret, its prefix
// included.
//
// A Key does not show itself when it is printed, logged or marshaled. It does
// unmarshal.
type Key string

// MinSecret is the least length of a secret's key in bytes. Standard Webhooks
// advises at least 24; GenerateSecret makes 32.
const MinSecret = 16

// Prefixes of Standard Webhooks keys.
const (
	prefixSecret  = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
)

const redacted = "REDACTED"

// Format implements [fmt.Formatter] for all verbs, %d and %x as well.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String is not the key.
func (Key) String() string { return redacted }

// GoString is not the key.
func (Key) GoString() string { return redacted }

// MarshalText writes no key, neither in JSON nor in YAML, nor in a log.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON does not write the key.
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// GenerateSecret makes a random secret: "whsec_" and 32 bytes in base64.
func GenerateSecret() string {
	var secret [32]byte
	rand.Read(secret[:]) // never fails, see crypto/rand
	return prefixSecret + base64.StdEncoding.EncodeToString(secret[:])
}

// GenerateKeyPair makes a random Ed25519 key pair: "whsk_" and the private key,
// which signs, "whpk_" and the public one, for receivers.
func GenerateKeyPair() (private, public string) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil { // crypto/rand never fails
		panic(err)
	}
	return prefixPrivate + base64.StdEncoding.EncodeToString(priv),
		prefixPublic + base64.StdEncoding.EncodeToString(pub)
}

// parse returns the key's bytes: of a secret, or of a private key. Its errors
// don't show the key.
func (k Key) parse() (secret []byte, private ed25519.PrivateKey, err error) {
	text := string(k)
	switch {
	case text == "":
		return nil, nil, errors.New("is empty: is the variable or the file it comes from set?")
	case strings.TrimSpace(text) != text:
		return nil, nil, errors.New("begins or ends with white space, perhaps a file's last newline: take it away")
	case strings.HasPrefix(text, prefixPublic):
		return nil, nil, errors.New(`is a public key, which can't sign: give the private one, it begins with "whsk_"`)
	case strings.HasPrefix(text, prefixPrivate):
		private, err = parsePrivate(text[len(prefixPrivate):])
		return nil, private, err
	case strings.HasPrefix(text, prefixSecret):
		secret, err = decode(text[len(prefixSecret):])
		if err != nil {
			return nil, nil, err
		}
	default:
		secret = []byte(text)
	}
	if len(secret) < MinSecret {
		return nil, nil, fmt.Errorf("has %d bytes, which can be guessed: use at least %d random ones, better 32",
			len(secret), MinSecret)
	}
	return secret, nil, nil
}

func parsePrivate(text string) (ed25519.PrivateKey, error) {
	b, err := decode(text)
	if err != nil {
		return nil, err
	}
	switch len(b) {
	case ed25519.SeedSize:
		return ed25519.NewKeyFromSeed(b), nil
	case ed25519.PrivateKeySize:
		// A signature with another's public key would give the private one away.
		private := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
		if string(private) != string(b) {
			return nil, errors.New("is a private key whose second half is not its public key: make a new pair")
		}
		return private, nil
	default:
		return nil, fmt.Errorf("has %d bytes: an Ed25519 private key has %d, or %d with its public key",
			len(b), ed25519.SeedSize, ed25519.PrivateKeySize)
	}
}

// decode is strict: base64 packages disagree about what is not quite base64
// (Go's skips newlines), and then about the key.
func decode(text string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("is not base64 after its prefix (RFC 4648, section 4, with padding): was it copied completely?")
	}
	return b, nil
}
