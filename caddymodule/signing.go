package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/signature"
)

// Signing says how callbacks are signed. With no secret they are not, which is
// warned of when Caddy starts.
//
// A secret is a Standard Webhooks secret (whsec_…) or private key (whsk_…), or
// any other text of at least 16 bytes. It may have placeholders such as
// {env.CALLBACK_SECRET} and {file./run/secrets/callback}, which are replaced
// when the configuration is loaded.
type Signing struct {
	// Secrets sign the callbacks to every host without secrets of its own.
	// Several are for rotation, the new one first.
	Secrets []string `json:"secrets,omitempty"`
	// HostSecrets are the secrets for some destination hosts: a host without a
	// port, or *.example.com.
	HostSecrets map[string][]string `json:"host_secrets,omitempty"`
	// KeyID turns on RFC 9421 HTTP Message Signatures, and is their keyid.
	KeyID string `json:"key_id,omitempty"`
}

var errSignWithoutSecret = errors.New("sign needs a secret to sign with: add one with the secret subdirective")

// any says that there is some secret.
func (s *Signing) any() bool { return len(s.Secrets) > 0 || len(s.HostSecrets) > 0 }

// newSigner makes the signer; nil if there is no secret.
func (s *Signing) newSigner() (task.Signer, error) {
	if !s.any() {
		if s.KeyID != "" {
			return nil, errSignWithoutSecret
		}
		return nil, nil
	}
	if err := checkKeyID(s.KeyID); err != nil {
		return nil, err
	}
	keys, err := keysOf(s.Secrets)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	config := signature.Config{Keys: keys, KeyID: s.KeyID, Hosts: make(map[string][]signature.Key)}
	for host, secrets := range s.HostSecrets {
		if config.Hosts[host], err = keysOf(secrets); err != nil {
			return nil, fmt.Errorf("secret_for %s: %w", host, err)
		}
	}
	signer, err := signature.New(config)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return signer, nil
}

// checkKeyID finds a keyid that can't be in a header.
func checkKeyID(id string) error {
	for _, c := range id {
		if c < ' ' || c > '~' {
			return fmt.Errorf("sign: the keyid %q can't be sent in a header: use printable ASCII only", id)
		}
	}
	return nil
}

// replaced is a text with its placeholders replaced. Its error names the one
// that has no value.
func replaced(text string) (string, error) {
	out, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		if name := placeholder.FindString(err.Error()); name != "" {
			return "", fmt.Errorf("%s has no value: is the variable set, the file there and not empty?", name)
		}
		return "", err
	}
	return out, nil
}

// keysOf replaces the placeholders in secrets. Its error names the
// placeholder, and shows no secret.
func keysOf(secrets []string) ([]signature.Key, error) {
	keys := make([]signature.Key, 0, len(secrets))
	for _, secret := range secrets {
		text, err := replaced(secret)
		if err != nil {
			return nil, err
		}
		keys = append(keys, signature.Key(text))
	}
	return keys, nil
}
