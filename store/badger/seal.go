package badger

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"filippo.io/age"
	"github.com/dgraph-io/badger/v4"
)

// The first byte of a body's file says how the rest is written.
const (
	bodySealed  = 'a' // in the age format, see age-encryption.org/v1, with the store's key
	bodyChecked = 'c' // the same with a key that everybody knows: what is damaged shows
	bodyPlain   = 'p' // as it is, by older versions
)

// publicSecret is the key of bodies that need none.
var publicSecret = sha256.Sum256([]byte("ringback: this body is not encrypted"))

// bodyKey is the key that bodies are encrypted with. It is made by the store,
// which keeps it in the database, which is encrypted itself: so when the
// store's key is changed, no body has to be written again.
type bodyKey struct {
	secret [32]byte
	// since is when the store became encrypted: the bodies of tasks that are
	// younger must be, too. The zero time if it is not encrypted now.
	since time.Time
}

// bodyKeyOf reads the key of a database, or makes it if encrypted says that
// there is to be one. It is nil if the store never was encrypted.
func bodyKeyOf(db *badger.DB, encrypted bool, now time.Time) (*bodyKey, error) {
	const plain = math.MaxUint64 // in place of since
	name := []byte{metaKey, 'b'}
	key := new(bodyKey)
	err := db.Update(func(txn *badger.Txn) error {
		var v []byte
		item, err := txn.Get(name)
		switch {
		case errors.Is(err, badger.ErrKeyNotFound) && !encrypted:
			key = nil
			return nil
		case errors.Is(err, badger.ErrKeyNotFound):
			v = binary.BigEndian.AppendUint64(nil, plain)
			v = append(v, make([]byte, len(key.secret))...)
			rand.Read(v[8:])
		case err != nil:
			return err
		default:
			if v, err = item.ValueCopy(nil); err != nil {
				return err
			}
			if len(v) != 8+len(key.secret) {
				return fmt.Errorf("the key of bodies has %d bytes, and should have %d: restore the database", len(v), 8+len(key.secret))
			}
		}
		copy(key.secret[:], v[8:])
		was, is := binary.BigEndian.Uint64(v), uint64(plain)
		if encrypted {
			if is = was; was == plain {
				is = uint64(now.UnixMilli())
			}
			key.since = time.UnixMilli(int64(is))
		}
		if was == is {
			return nil
		}
		binary.BigEndian.PutUint64(v, is)
		return txn.Set(name, v)
	})
	return key, err
}

// encrypts says that what is written now is to be encrypted.
func (k *bodyKey) encrypts() bool { return k != nil && !k.since.IsZero() }

// seal returns a writer that encrypts to the file, if the store is encrypted,
// and else has damage to the file found. Close writes what is left, and does not
// close the file.
func (k *bodyKey) seal(file io.Writer, name bodyName) (io.WriteCloser, error) {
	kind, secret := byte(bodyChecked), publicSecret
	if k.encrypts() {
		kind, secret = bodySealed, k.secret
	}
	if _, err := file.Write([]byte{kind}); err != nil {
		return nil, err
	}
	return age.Encrypt(file, &bodyLock{secret, name})
}

// unseal returns a reader of what was written to the writer of seal. What it
// reads is what was written, or an error.
func (k *bodyKey) unseal(file *os.File, name bodyName) (io.ReadSeeker, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	var kind [1]byte
	if _, err := file.ReadAt(kind[:], 0); err != nil {
		return nil, fmt.Errorf("its file is damaged: %w", err)
	}
	size := info.Size() - 1
	content := io.NewSectionReader(file, 1, size)
	secret := publicSecret
	switch kind[0] {
	case bodyPlain, bodyChecked:
		if k.encrypts() && name.id.Time().After(k.since) {
			return nil, errors.New("its file is not encrypted, and should be: it was tampered with")
		}
		if kind[0] == bodyPlain {
			return content, nil
		}
	case bodySealed:
		if k == nil {
			return nil, errors.New("its file is encrypted, but the store never was: it belongs elsewhere")
		}
		secret = k.secret
	default:
		return nil, errors.New("its file was tampered with or is damaged: its kind is not known")
	}
	r, size, err := age.DecryptReaderAt(content, size, &bodyLock{secret, name})
	if err != nil {
		return nil, fmt.Errorf("its file was tampered with or is damaged: %w", err)
	}
	return io.NewSectionReader(r, 0, size), nil
}

// bodyLock locks the key that age makes for each file with the key of bodies
// and the body's name, so that no file can take another's place.
type bodyLock struct {
	secret [32]byte
	name   bodyName
}

const stanzaType = "ringback-body"

func (l *bodyLock) aead() (cipher.AEAD, error) {
	salt := append([]byte{byte(l.name.part)}, l.name.id[:]...)
	key, err := hkdf.Key(sha256.New, l.secret[:], salt, stanzaType, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Wrap implements [age.Recipient].
func (l *bodyLock) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	aead, err := l.aead()
	if err != nil {
		return nil, err
	}
	return []*age.Stanza{{Type: stanzaType, Body: aead.Seal(nil, nil, fileKey, nil)}}, nil
}

// Unwrap implements [age.Identity].
func (l *bodyLock) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	aead, err := l.aead()
	if err != nil {
		return nil, err
	}
	for _, stanza := range stanzas {
		if stanza.Type != stanzaType {
			continue
		}
		if fileKey, err := aead.Open(nil, nil, stanza.Body, nil); err == nil {
			return fileKey, nil
		}
	}
	return nil, age.ErrIncorrectIdentity
}

var (
	_ age.Recipient = (*bodyLock)(nil)
	_ age.Identity  = (*bodyLock)(nil)
)
