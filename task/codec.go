package task

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Records are a version byte and CBOR (RFC 8949) with integer keys: compact,
// and tomorrow's binary reads today's records, since fields are only ever
// added, and a key is never used for something else.
const recordVersion = 1

var encoder, decoder = func() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{Time: cbor.TimeUnixMicro}.EncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{MaxNestedLevels: 16}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
}()

// ErrBadRecord is returned for bytes that no Marshal wrote.
var ErrBadRecord = errors.New("record can't be read")

// Record is one of the types that stores keep.
type Record interface{ Task | Request | Response }

// Marshal writes a record as bytes to be stored.
func Marshal[R Record](record *R) ([]byte, error) {
	b, err := encoder.Marshal(record)
	if err != nil {
		return nil, err
	}
	return append(b, recordVersion), nil
}

// Unmarshal reads what Marshal wrote, by this version of the program or an
// earlier one. Anything else is an ErrBadRecord. The record does not share
// memory with b.
func Unmarshal[R Record](b []byte) (*R, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrBadRecord)
	}
	if v := b[len(b)-1]; v != recordVersion {
		return nil, fmt.Errorf("%w: it has version %d, this program knows %d", ErrBadRecord, v, recordVersion)
	}
	record := new(R)
	if err := decoder.Unmarshal(b[:len(b)-1], record); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	return record, nil
}
