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
// different each time the file is used, the number of its first record, up to
// which record the database had everything when the file was begun, the size
// of the file, and a checksum. Records follow: checksum, length, number, and
// what was appended. The checksum of a record depends on the salt, so that what
// an earlier use of the file has left behind is never taken for a record.
//
// When a record is durable, an end mark takes the place of the next: a record
// without content. It is not synced. So a record that is damaged and the last
// one is told from one that was being written when the process was killed: an
// end mark follows it.
const (
	magic        = "RBjournal"
	version      = 2
	saltSize     = 16
	headerSize   = len(magic) + 1 + 1 + saltSize + 8 + 8 + 8 + 4
	recordHeader = 4 + 4 + 8
	sealing      = 12 + 16 // nonce and tag of AES-GCM
	overhead     = 2*recordHeader + sealing
	endMark      = 1<<32 - 1 // in place of a length

	// Version 1 had neither checkpoint nor size nor end marks, wrote the header
	// with the first record, and had as many files as it took.
	oldVersion    = 1
	oldHeaderSize = len(magic) + 1 + 1 + saltSize + 8 + 4
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

func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, h.version, h.kind)
	b = append(b, h.salt[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	if h.version != oldVersion {
		b = binary.LittleEndian.AppendUint64(b, h.checkpoint)
		b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader reads a header; false if there is none, or a damaged one.
func decodeHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return h, false, nil
	}
	h.version = b[len(magic)]
	b = b[:h.length()]
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return h, false, nil
	}
	if h.version > version {
		return h, false, fmt.Errorf("it is of version %d, and this program knows only %d: use the program that wrote it", h.version, version)
	}
	b = b[len(magic)+1:]
	h.kind = b[0]
	copy(h.salt[:], b[1:])
	h.first = binary.LittleEndian.Uint64(b[1+saltSize:])
	if h.version != oldVersion {
		h.checkpoint = binary.LittleEndian.Uint64(b[1+saltSize+8:])
		h.size = int64(binary.LittleEndian.Uint64(b[1+saltSize+16:]))
	}
	return h, true, nil
}

// checksum is that of a record after its first four bytes.
func (h *header) checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(h.salt[:], castagnoli), castagnoli, b)
}

// putHead completes the head of a record, whose content is behind it.
func (h *header) putHead(record []byte, length uint32, number uint64) {
	binary.LittleEndian.PutUint32(record[4:], length)
	binary.LittleEndian.PutUint64(record[8:], number)
	binary.LittleEndian.PutUint32(record, h.checksum(record[4:]))
}

// valid says whether a record, or an end mark, begins at an offset of a file,
// and returns its number and content.
func (h *header) valid(file []byte, at int) (number uint64, content []byte, ok bool) {
	rest := file[at:]
	if len(rest) < recordHeader {
		return 0, nil, false
	}
	length := int64(binary.LittleEndian.Uint32(rest[4:]))
	if length == endMark {
		length = 0
	}
	if length > int64(len(rest)-recordHeader) {
		return 0, nil, false
	}
	rest = rest[:recordHeader+length]
	if binary.LittleEndian.Uint32(rest) != h.checksum(rest[4:]) {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(rest[8:]), rest[recordHeader:], true
}

func isEndMark(record []byte) bool { return binary.LittleEndian.Uint32(record[4:]) == endMark }

// records returns what the records of a file hold, as it was written.
func (h *header) records(file []byte) (contents [][]byte, end int) {
	end = h.length()
	for {
		number, content, ok := h.valid(file, end)
		if !ok || number != h.first+uint64(len(contents)) || isEndMark(file[end:]) {
			return contents, end
		}
		contents = append(contents, content)
		end += recordHeader + len(content)
	}
}

// damaged says whether what ends at an offset, before the record of a number,
// does so because of damage: a record or end mark behind it proves that what
// was there was durable, since only one record is being written at any time.
func (h *header) damaged(file []byte, end int, number uint64) bool {
	most := number + uint64(len(file)/recordHeader)
	for at := end + 1; at+recordHeader <= len(file); at++ {
		if n := binary.LittleEndian.Uint64(file[at+8:]); n < number || n > most {
			continue
		}
		if _, _, ok := h.valid(file, at); ok {
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
