package badger

import (
	"encoding/binary"
	"errors"
)

// The writes of a commit are one record of the journal: of each its key, led
// by its length, and its value, led by its length plus one; zero if the key is
// deleted.

// appendWrite appends a write, whose value refers to the record from then on.
func appendWrite(b []byte, w *write) []byte {
	b = binary.AppendUvarint(b, uint64(len(w.key)))
	b = append(b, w.key...)
	if w.value == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(w.value))+1)
	start := len(b)
	b = append(b, w.value...)
	w.value = b[start:len(b):len(b)]
	return b
}

// replay adds what a record of the journal has. Badger may have each key.
func (g *generation) replay(record []byte) error {
	return eachWrite(record, func(w write) error {
		g.entries[w.key] = entry{value: w.value}
		return nil
	})
}

// eachWrite calls each with the writes of a record. They refer to it.
func eachWrite(record []byte, each func(write) error) error {
	next := func(n uint64) ([]byte, error) {
		if n > uint64(len(record)) {
			return nil, errors.New("a record of the journal is cut off")
		}
		b := record[:n:n]
		record = record[n:]
		return b, nil
	}
	length := func() (uint64, error) {
		n, size := binary.Uvarint(record)
		if size <= 0 {
			return 0, errors.New("a record of the journal has a bad length")
		}
		record = record[size:]
		return n, nil
	}
	for len(record) > 0 {
		var w write
		var key []byte
		n, err := length()
		if err == nil {
			key, err = next(n)
			w.key = string(key)
		}
		if err == nil {
			n, err = length()
		}
		if err == nil && n > 0 {
			w.value, err = next(n - 1)
		}
		if err == nil {
			err = each(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
