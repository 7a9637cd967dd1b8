package signature

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/ringback/ringback/task"
)

const (
	// chunkSize is how much of a body is read at once, in bytes.
	chunkSize = 16 << 10
	// maxHeld is the size in bytes up to which a body is held in memory for
	// Ed25519, which needs it twice; a larger one gets no such signature.
	maxHeld = 16 << 20
	// smallBody is the size in bytes up to which any number of bodies is held.
	smallBody = 64 << 10
	// maxLarge is how many larger ones are held at once, by all signers.
	maxLarge = 4
)

// large has an element for each body beyond smallBody that is held.
var large = make(chan struct{}, maxLarge)

// pass is one pass over a body, which feeds all the hashes that signatures are
// made from.
type pass struct {
	keys   *keyring
	v1     []hash.Hash // HMACs of id.timestamp.body, one for each secret
	body   hash.Hash   // HMAC of the body; nil: there is no secret
	digest hash.Hash   // SHA-256 of the body

	head  []byte       // "id.timestamp."
	text  bytes.Buffer // head and body, if they are held
	v1a   [][]byte     // Ed25519 signatures
	chunk []byte
	sinks []io.Writer
	out   []byte
	sum   [sha256.Size]byte
}

// begin starts over for another message.
func (p *pass) begin(id string, timestamp int64) {
	p.head = append(p.head[:0], id...)
	p.head = append(p.head, '.')
	p.head = strconv.AppendInt(p.head, timestamp, 10)
	p.head = append(p.head, '.')
	p.text.Reset()
	p.v1a = p.v1a[:0]
	for _, h := range p.v1 {
		h.Reset()
		h.Write(p.head)
	}
	if p.body != nil {
		p.body.Reset()
	}
	p.digest.Reset()
}

// read feeds the hashes with the body; digest says that its SHA-256 is wanted.
func (p *pass) read(ctx context.Context, message task.Message, digest bool) error {
	p.sinks = p.sinks[:0]
	for _, h := range p.v1 {
		p.sinks = append(p.sinks, h)
	}
	if p.body != nil {
		p.sinks = append(p.sinks, p.body)
	}
	if digest {
		p.sinks = append(p.sinks, p.digest)
	}
	held := len(p.keys.privates) > 0 && message.Size <= maxHeld
	if !held && len(p.keys.secrets) == 0 {
		return fmt.Errorf("the body has %d bytes, and Ed25519 signs at most %d: add a secret, which signs any size", message.Size, maxHeld)
	}
	if held {
		if message.Size > smallBody {
			select {
			case large <- struct{}{}:
				defer func() { <-large }()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		p.text.Grow(len(p.head) + int(message.Size))
		p.text.Write(p.head)
		p.sinks = append(p.sinks, &p.text)
	}
	if err := p.copy(ctx, message); err != nil || !held {
		return err
	}
	for _, private := range p.keys.privates {
		p.v1a = append(p.v1a, ed25519.Sign(private, p.text.Bytes()))
	}
	if message.Size > smallBody {
		p.text = bytes.Buffer{} // while its place is still taken
	}
	return nil
}

// copy writes the body to all sinks, chunk by chunk.
func (p *pass) copy(ctx context.Context, message task.Message) (err error) {
	body, err := message.Open()
	if err != nil {
		return fmt.Errorf("open body: %w", err)
	}
	defer body.Close()
	var size int64
	for {
		n, err := body.Read(p.chunk)
		size += int64(n)
		if size > message.Size {
			return fmt.Errorf("the body is longer than the %d bytes it should have", message.Size)
		}
		for _, sink := range p.sinks {
			sink.Write(p.chunk[:n]) // hashes and buffers: never fails
		}
		switch {
		case err == io.EOF && size < message.Size:
			return fmt.Errorf("the body has %d bytes instead of %d", size, message.Size)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read body: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// signatures is the value of webhook-signature.
func (p *pass) signatures() string {
	p.out = p.out[:0]
	for _, h := range p.v1 {
		p.out = append(p.out, " v1,"...)
		p.out = base64.StdEncoding.AppendEncode(p.out, h.Sum(p.sum[:0]))
	}
	for _, signature := range p.v1a {
		p.out = append(p.out, " v1a,"...)
		p.out = base64.StdEncoding.AppendEncode(p.out, signature)
	}
	return string(p.out[1:])
}

// plain is the value of X-Callback-Signature; empty if there is no secret.
func (p *pass) plain() string {
	if p.body == nil {
		return ""
	}
	p.out = append(p.out[:0], "sha256="...)
	p.out = hex.AppendEncode(p.out, p.body.Sum(p.sum[:0]))
	return string(p.out)
}
