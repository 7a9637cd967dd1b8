package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
)

// keyring is the keys that sign the callbacks to one host.
type keyring struct {
	secrets  [][]byte
	plain    []byte // text of the first secret; nil: none
	privates []ed25519.PrivateKey

	// passes keeps the HMACs, which are costly to make from a key.
	passes sync.Pool
}

func newKeyring(keys []Key) (*keyring, error) {
	r := new(keyring)
	for i, key := range keys {
		secret, private, err := key.parse()
		if err != nil {
			return nil, fmt.Errorf("key %d of %d %w", i+1, len(keys), err)
		}
		if private != nil {
			r.privates = append(r.privates, private)
			continue
		}
		if r.plain == nil {
			r.plain = []byte(key)
		}
		r.secrets = append(r.secrets, secret)
	}
	r.passes.New = func() any { return r.newPass() }
	return r, nil
}

func (r *keyring) newPass() *pass {
	p := &pass{
		keys:   r,
		v1:     make([]hash.Hash, len(r.secrets)),
		digest: sha256.New(),
		chunk:  make([]byte, chunkSize),
	}
	for i, secret := range r.secrets {
		p.v1[i] = hmac.New(sha256.New, secret)
	}
	if r.plain != nil {
		p.body = hmac.New(sha256.New, r.plain)
	}
	return p
}

// release keeps a pass for the next message, but not the memory of a large one.
func (r *keyring) release(p *pass) {
	if p.text.Cap() > 4*chunkSize {
		p.text = bytes.Buffer{}
	}
	r.passes.Put(p)
}
