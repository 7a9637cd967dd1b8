package task

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"time"
)

// ID names a task. It is 48 bits of Unix time in milliseconds, so that tasks
// sort by age, followed by 120 random bits, so that nobody can guess one:
// knowing an ID is what lets a client see the task. Its zero value names none.
type ID [21]byte

// idText is base32 with the extended hex alphabet (RFC 4648, section 7) in
// lower case and without padding: URL-safe, sorts like the bytes, survives
// a double click.
var idText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// IDLength is the length of an ID as text.
const IDLength = 34

// ErrBadID is what ParseID returns for text that no ID has as its String.
var ErrBadID = errors.New("not a task id")

// NewID makes an ID for a task created at now.
func NewID(now time.Time) ID {
	var id ID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	rand.Read(id[6:]) // never fails, see crypto/rand
	return id
}

// ParseID reads what String wrote; anything else is ErrBadID.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != IDLength {
		return ID{}, ErrBadID
	}
	if _, err := idText.Decode(id[:], []byte(s)); err != nil {
		return ID{}, ErrBadID
	}
	// 34 characters hold 170 bits, an ID 168: the last two must be zero, or
	// four texts would name one task.
	if id.String() != s {
		return ID{}, ErrBadID
	}
	return id, nil
}

// String is the ID as clients see it: IDLength characters, safe in a URL.
func (id ID) String() string { return idText.EncodeToString(id[:]) }

// Time is when the task was created, to the millisecond.
func (id ID) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:])))
}

// Compare orders IDs by age, oldest first.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// IsZero says that the ID names no task.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText implements [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
