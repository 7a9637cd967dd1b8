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
	repl := caddy.NewReplacer()
	keys, err := keysOf(repl, s.Secrets)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	config := signature.Config{Keys: keys, KeyID: s.KeyID, Hosts: make(map[string][]signature.Key)}
	for host, secrets := range s.HostSecrets {
		if config.Hosts[host], err = keysOf(repl, secrets); err != nil {
			return nil, fmt.Errorf("secret_for %s: %w", host, err)
		}
	}
	signer, err := signature.New(config)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return signer, nil
}

// keysOf replaces the placeholders in secrets. Its error names the
// placeholder, and shows no secret.
func keysOf(repl *caddy.Replacer, secrets []string) ([]signature.Key, error) {
	keys := make([]signature.Key, 0, len(secrets))
	for _, secret := range secrets {
		text, err := repl.ReplaceOrErr(secret, true, true)
		if err != nil {
			return nil, err
		}
		keys = append(keys, signature.Key(text))
	}
	return keys, nil
}
