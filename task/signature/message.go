package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/dunglas/httpsfv"
	"golang.org/x/net/http/httpguts"

	"github.com/ringback/ringback/task"
)

// Headers of RFC 9421 and RFC 9530.
const (
	headerMessageInput     = "Signature-Input"
	headerMessageSignature = "Signature"
	headerContentDigest    = "Content-Digest"

	// label names the signature in the two headers of RFC 9421.
	label = "sig1"
)

// covered are the fields that a message signature covers if the callback has
// them, after @method and @target-uri.
var covered = []string{
	"content-digest", "content-type",
	"callback-task-id", "callback-event", "callback-status", "callback-attempt",
	"webhook-id", "webhook-timestamp",
}

// messageSigner makes HTTP Message Signatures (RFC 9421). There is no alg
// parameter: section 3.2 lets the key say which algorithm it is for, and then
// no attacker can choose another.
type messageSigner struct {
	keyID string
}

func newMessageSigner(keyID string) (*messageSigner, error) {
	if _, err := httpsfv.Marshal(httpsfv.NewItem(keyID)); err != nil {
		return nil, fmt.Errorf("key id %q can't be sent in a header: use printable ASCII only", keyID)
	}
	return &messageSigner{keyID}, nil
}

// sign sets Content-Digest, Signature-Input and Signature in header, which has
// all that is covered. The digest is the body's SHA-256.
func (s *messageSigner) sign(header http.Header, message task.Message, keys *keyring, digest []byte) error {
	uri, err := targetURI(message.URL)
	if err != nil {
		return err
	}
	contentDigest, err := dictionary("sha-256", httpsfv.NewItem(digest))
	if err != nil {
		return err
	}
	header.Set(headerContentDigest, contentDigest)

	components := []component{{"@method", http.MethodPost}, {"@target-uri", uri}}
	for _, name := range covered {
		if values := header.Values(name); len(values) > 0 {
			components = append(components, component{name, fieldValue(values)})
		}
	}
	input := signatureInput(components, message.At.Unix(), s.keyID)
	base, err := signatureBase(components, input)
	if err != nil {
		return err
	}
	signed, err := dictionary(label, httpsfv.NewItem(keys.signMessage(base)))
	if err != nil {
		return err
	}
	inputs, err := dictionary(label, input)
	if err != nil {
		return err
	}
	header.Set(headerMessageInput, inputs)
	header.Set(headerMessageSignature, signed)
	return nil
}

// signMessage is ed25519 (RFC 9421, section 3.3.6) with the first private key,
// else hmac-sha256 (section 3.3.3) with the first secret.
func (r *keyring) signMessage(base string) []byte {
	if len(r.privates) > 0 {
		return ed25519.Sign(r.privates[0], []byte(base))
	}
	h := hmac.New(sha256.New, r.secrets[0])
	h.Write([]byte(base))
	return h.Sum(nil)
}

// component is a part of a message that is covered: a field or, with an @, what
// is derived from the request line.
type component struct{ name, value string }

// signatureInput is the parameters of a signature, RFC 9421, section 2.3.
func signatureInput(components []component, created int64, keyID string) httpsfv.InnerList {
	input := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, c := range components {
		input.Items = append(input.Items, httpsfv.NewItem(c.name))
	}
	input.Params.Add("created", created)
	input.Params.Add("keyid", keyID)
	return input
}

// signatureBase is the text that is signed, RFC 9421, section 2.5.
func signatureBase(components []component, input httpsfv.InnerList) (string, error) {
	params, err := httpsfv.Marshal(input)
	if err != nil {
		return "", fmt.Errorf("sign callback: %w", err)
	}
	var base strings.Builder
	for _, c := range components {
		base.WriteString(`"` + c.name + `": ` + c.value + "\n")
	}
	base.WriteString(`"@signature-params": ` + params)
	return base.String(), nil
}

// fieldValue is the value of a field, RFC 9421, section 2.1.
func fieldValue(values []string) string {
	trimmed := make([]string, len(values))
	for i, value := range values {
		trimmed[i] = strings.TrimSpace(value)
	}
	return strings.Join(trimmed, ", ")
}

// targetURI is the URL as the receiver puts it together from what net/http
// sends (RFC 9421, section 2.2.2; RFC 9110, section 7.1): no user, no fragment,
// the host in ASCII, the path never empty.
func targetURI(u *url.URL) (string, error) {
	host, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil || host == "" {
		return "", fmt.Errorf("sign callback: %q is not a host that can be called", u.Host)
	}
	return u.Scheme + "://" + host + u.RequestURI(), nil
}

func dictionary(key string, member httpsfv.Member) (string, error) {
	d := httpsfv.NewDictionary()
	d.Add(key, member)
	text, err := httpsfv.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("sign callback: %w", err)
	}
	return text, nil
}
