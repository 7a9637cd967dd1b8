package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A file begins with a header: what it is, how it is encrypted, a salt that is
// different each time the file is used, the number of its first record, and a
// checksum. Records follow: checksum, length, number, and what was appended.
// The checksum of a record depends on the salt, so that what an earlier use of
// the file has left behind is never taken for a record.
const (
	magic        = "RBjournal"
	version      = 1
	saltSize     = 16
	headerSize   = len(magic) + 1 + 1 + saltSize + 8 + 4
	recordHeader = 4 + 4 + 8
	sealing      = 12 + 16 // nonce and tag of AES-GCM
	overhead     = recordHeader + sealing
)

const (
	plain  = 'p'
	sealed = 'a' // AES-GCM
)

// header is the header of a file.
type header struct {
	kind  byte
	salt  [saltSize]byte
	first uint64
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, version, h.kind)
	b = append(b, h.salt[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader reads a header. It is false for a file that was not used yet,
// or whose header was not written as a whole before the power failed: then
// none of its records was acknowledged.
func decodeHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return h, false, nil
	}
	b = b[:headerSize]
	if crc32.Checksum(b[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return h, false, nil
	}
	b = b[len(magic):]
	if b[0] != version {
		return h, false, fmt.Errorf("it is of version %d, and this program knows only %d: use the program that wrote it", b[0], version)
	}
	h.kind = b[1]
	copy(h.salt[:], b[2:])
	h.first = binary.LittleEndian.Uint64(b[2+saltSize:])
	return h, true, nil
}

// checksum is that of a record after its first four bytes.
func (h *header) checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(h.salt[:], castagnoli), castagnoli, b)
}

// records calls each with the records of a file, and returns how many there
// are. The first that is not whole ends them: nothing was written after it.
func (h *header) records(file []byte, secret []byte, each func(record []byte) error) (count uint64, err error) {
	seal, err := newSealer(h, secret)
	if err != nil {
		return 0, err
	}
	for rest := file[headerSize:]; len(rest) >= recordHeader; count++ {
		size := int64(binary.LittleEndian.Uint32(rest[4:]))
		if size > int64(len(rest)-recordHeader) || binary.LittleEndian.Uint64(rest[8:]) != h.first+count {
			break
		}
		record := rest[recordHeader : recordHeader+size]
		if binary.LittleEndian.Uint32(rest) != h.checksum(rest[4:recordHeader+size]) {
			break
		}
		rest = rest[recordHeader+size:]
		if record, err = seal.open(record, h.first+count); err != nil {
			return count, err
		}
		if each == nil {
			continue
		}
		if err := each(record); err != nil {
			return count, err
		}
	}
	return count, nil
}

// sealer encrypts records, if there is a key.
type sealer struct{ aead cipher.AEAD }

func newSealer(h *header, secret []byte) (*sealer, error) {
	switch {
	case h.kind == plain:
		return &sealer{}, nil
	case h.kind != sealed:
		return nil, fmt.Errorf("its kind %q is not known", h.kind)
	case secret == nil:
		return nil, errors.New("it is encrypted, and there is no key: it belongs elsewhere")
	}
	key, err := hkdf.Key(sha256.New, secret, h.salt[:], "ringback-journal", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead}, err
}

// append appends a record to b.
func (s *sealer) append(b, record []byte, number uint64) []byte {
	if s.aead == nil {
		return append(b, record...)
	}
	return s.aead.Seal(b, nil, record, binary.LittleEndian.AppendUint64(nil, number))
}

// open is the opposite of append; record is used for what it returns.
func (s *sealer) open(record []byte, number uint64) ([]byte, error) {
	if s.aead == nil {
		return record, nil
	}
	record, err := s.aead.Open(record[:0], nil, record, binary.LittleEndian.AppendUint64(nil, number))
	if err != nil {
		return nil, errors.New("it is encrypted with another key, or was tampered with")
	}
	return record, nil
}
