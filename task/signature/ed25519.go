package signature

import (
	"crypto/ed25519"
	"crypto/sha512"
	"hash"

	"filippo.io/edwards25519"
)

// stream makes an Ed25519 signature (RFC 8032, section 5.1.6) of a message that
// is written to it, once, and after turn once again, and is never held. It
// is the signature that crypto/ed25519 makes, which wants the message whole.
type stream struct {
	hash.Hash // SHA-512, fed with the message

	public []byte
	s      *edwards25519.Scalar // the secret scalar
	r      *edwards25519.Scalar // the nonce; nil before turn
	point  []byte               // R, the first half of the signature
}

func newStream(private ed25519.PrivateKey) *stream {
	expanded := sha512.Sum512(private.Seed())
	s, err := edwards25519.NewScalar().SetBytesWithClamping(expanded[:32])
	if err != nil { // the length is right
		panic(err)
	}
	h := sha512.New()
	h.Write(expanded[32:])
	return &stream{Hash: h, public: private[ed25519.SeedSize:], s: s}
}

// turn ends the first writing of the message and begins the second.
func (s *stream) turn() {
	s.r = scalarOf(s.Hash)
	s.point = new(edwards25519.Point).ScalarBaseMult(s.r).Bytes()
	s.Reset()
	s.Write(s.point)
	s.Write(s.public)
}

// sign ends the second writing and returns the signature.
func (s *stream) sign() []byte {
	k := scalarOf(s.Hash)
	sum := edwards25519.NewScalar().MultiplyAdd(k, s.s, s.r)
	return append(s.point, sum.Bytes()...)
}

func scalarOf(h hash.Hash) *edwards25519.Scalar {
	scalar, err := edwards25519.NewScalar().SetUniformBytes(h.Sum(nil))
	if err != nil { // the length is right
		panic(err)
	}
	return scalar
}
