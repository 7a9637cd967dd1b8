package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/store/badger/durable"
	"github.com/ringback/ringback/store/badger/journal"
)

// The steps of a commit are one record of the journal, which is on the disk
// before anybody is told, and before Badger has them. Badger's own log is not
// synced: that is written through mapped memory, and the kernel then interrupts
// the other processors for each page, which costs three times what a sync of
// the journal does. After a crash of the machine the log may have holes; what
// is in it is in the journal as well, until Badger has made a table of it and
// deletes it.

// openJournal opens the journal beside a database, and has the database catch up.
// full is told when a file of it is full.
func openJournal(dir string, db *badger.DB, key *bodyKey, full func(func()) error, options Options) (*journal.Journal, error) {
	o := journal.Options{
		SegmentSize: options.segmentSize(),
		Applied: func() (first, last uint64, err error) {
			path := filepath.Join(dir, dbDir)
			first, last, err = logs(path)
			if err == nil { // Badger syncs the table that takes a log's place, but not its name
				err = durable.Dir(path)
			}
			return first, last, err
		},
		Full:   full,
		Logger: options.Logger,
	}
	if key != nil { // from then on, whether the database is encrypted now or not
		o.Secret = key.secret[:]
	}
	j, err := journal.Open(filepath.Join(dir, journalDir), o, func(record []byte) error {
		batch := db.NewWriteBatch()
		defer batch.Cancel()
		err := eachWrite(record, func(w write) error {
			if w.value == nil {
				return batch.Delete([]byte(w.key))
			}
			return batch.Set([]byte(w.key), w.value)
		})
		if errors.Is(err, badger.ErrTxnTooBig) {
			err = errors.New("a step in it is more than the task store can write at once: raise the memtable size to what it was")
		}
		return errors.Join(err, batch.Flush())
	})
	return j, noSpace(err)
}

// logs returns the numbers of the oldest and the newest log that Badger has.
// There is one for each memtable.
func logs(path string) (first, last uint64, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0, 0, err
	}
	first = math.MaxUint64
	for _, entry := range entries {
		name := entry.Name()
		if filepath.Ext(name) != logExtension {
			continue
		}
		number, err := strconv.ParseUint(name[:len(name)-len(logExtension)], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s is not the name of a log of the task store: move it away", filepath.Join(path, name))
		}
		first, last = min(first, number), max(last, number)
	}
	if last == 0 {
		return 0, 0, fmt.Errorf("no log of the task store is in %s", path)
	}
	return first, last, nil
}

const logExtension = ".mem"

// appendWrite appends a write to a record of the journal: its key, led by its
// length, and its value, led by its length plus one; zero if the key is
// deleted. The write's value refers to the record from then on.
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
