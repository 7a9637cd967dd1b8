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
// different each time the file is used, the number of its first record, a
// checksum; then up to which record the database had everything when the file
// was begun, the size of the file, and a checksum of all that. Records follow,
// each with a head (checksum of the head, length, number, checksum of the
// content), and then what was appended. The checksums depend on the salt, so
// that what an earlier use of the file has left behind, or what a client sends,
// is never taken for a record.
//
// When a record is durable, an end mark takes the place of the next: a head
// without content. It is not synced. So a record that is damaged and the last
// one is told from one that was being written when the process was killed: an
// end mark follows it.
const (
	magic      = "RBjournal"
	version    = 2
	saltSize   = 16
	headSize   = 4 + 4 + 8 + 4
	headerSize = oldHeaderSize + 8 + 8 + 4
	sealing    = 12 + 16 // nonce and tag of AES-GCM
	overhead   = 2*headSize + sealing
	endMark    = 1<<32 - 1 // in place of a length

	// Version 1 had neither checkpoint nor size nor end marks nor a checksum for
	// a head (its own was that of all of the record); it wrote the header with the
	// first record, and had as many files as it took. What its header had is where
	// it was, so that it knows that it does not know later versions.
	oldVersion    = 1
	oldHeaderSize = len(magic) + 1 + 1 + saltSize + 8 + 4
	oldHeadSize   = 4 + 4 + 8
)

const (
	plain  = 'p'
	sealed = 'a' // AES-GCM
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the header of a file.
type header struct {
	version    byte
	kind       byte
	salt       [saltSize]byte
	first      uint64 // number of the first record
	checkpoint uint64 // number of the last record that was in the database for good
	size       int64  // of the file
}

// length is how long the header is.
func (h *header) length() int {
	if h.version == oldVersion {
		return oldHeaderSize
	}
	return headerSize
}

// headSize is how long the head of a record is.
func (h *header) headSize() int {
	if h.version == oldVersion {
		return oldHeadSize
	}
	return headSize
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, h.version, h.kind)
	b = append(b, h.salt[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if h.version == oldVersion {
		return b
	}
	b = binary.LittleEndian.AppendUint64(b, h.checkpoint)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader reads a header; false if there is none, or a damaged one.
func decodeHeader(b []byte) (h header, ok bool, err error) {
	sound := func(length int) bool {
		end := length - 4
		return len(b) >= length && crc32.Checksum(b[:end], castagnoli) == binary.LittleEndian.Uint32(b[end:])
	}
	if !sound(oldHeaderSize) || string(b[:len(magic)]) != magic {
		return h, false, nil
	}
	h.version = b[len(magic)]
	if h.version > version {
		return h, false, fmt.Errorf("it is of version %d, and this program knows only %d: use the program that wrote it", h.version, version)
	}
	if !sound(h.length()) {
		return h, false, nil
	}
	old := b[len(magic)+1:]
	h.kind = old[0]
	copy(h.salt[:], old[1:])
	h.first = binary.LittleEndian.Uint64(old[1+saltSize:])
	if h.version != oldVersion {
		h.checkpoint = binary.LittleEndian.Uint64(b[oldHeaderSize:])
		h.size = int64(binary.LittleEndian.Uint64(b[oldHeaderSize+8:]))
	}
	return h, true, nil
}

// checksum is one that depends on the salt.
func (h *header) checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(h.salt[:], castagnoli), castagnoli, b)
}

// putHead completes the head of a record, whose content is behind it.
func (h *header) putHead(record []byte, length uint32, number uint64) {
	binary.LittleEndian.PutUint32(record[4:], length)
	binary.LittleEndian.PutUint64(record[8:], number)
	binary.LittleEndian.PutUint32(record[16:], h.checksum(record[headSize:]))
	binary.LittleEndian.PutUint32(record, h.checksum(record[4:headSize]))
}

// stored is what was found at an offset of a file: a record or an end mark.
type stored struct {
	number  uint64
	content []byte
	isEnd   bool // it is an end mark
	length  int  // with its head
}

// recordAt reads the record or end mark at an offset of a file, if its number is
// one of those that are possible. That it is none costs little, whatever is there.
func (h *header) recordAt(file []byte, at int, least, most uint64) (r stored, ok bool) {
	b, head := file[at:], h.headSize()
	if len(b) < head {
		return r, false
	}
	r.number = binary.LittleEndian.Uint64(b[8:])
	if r.number < least || r.number > most {
		return r, false
	}
	old := h.version == oldVersion
	if !old && binary.LittleEndian.Uint32(b) != h.checksum(b[4:head]) {
		return r, false
	}
	length := int64(binary.LittleEndian.Uint32(b[4:]))
	if r.isEnd = length == endMark; r.isEnd {
		length = 0
	}
	if length > int64(len(b)-head) {
		return r, false
	}
	r.length = head + int(length)
	r.content = b[head:r.length]
	if old {
		return r, binary.LittleEndian.Uint32(b) == h.checksum(b[4:r.length])
	}
	return r, binary.LittleEndian.Uint32(b[16:]) == h.checksum(r.content)
}

// records returns what the records of a file hold, as it was written.
func (h *header) records(file []byte) (contents [][]byte, end int) {
	end = h.length()
	for {
		number := h.first + uint64(len(contents))
		r, ok := h.recordAt(file, end, number, number)
		if !ok || r.isEnd {
			return contents, end
		}
		contents = append(contents, r.content)
		end += r.length
	}
}

// damaged says whether what ends at an offset, before the record of a number,
// does so because of damage: a record or end mark behind it proves that what
// was there was durable, since only one record is being written at any time.
func (h *header) damaged(file []byte, end int, number uint64) bool {
	for at := end + 1; at+h.headSize() <= len(file); at++ {
		if _, ok := h.recordAt(file, at, number, number+uint64((at-end)/h.headSize())+1); ok {
			return true
		}
	}
	return false
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
