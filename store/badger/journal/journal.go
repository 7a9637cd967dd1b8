// Package journal is a write-ahead log: records that are on the disk when
// Append returns, and that are told again when the journal is opened next,
// until the caller has them safe elsewhere.
//
//	journal.go  Open, Append, Trim, Remove
//	segment.go  the files, and which of them may be used again
//	record.go   what a file holds, and how it is read
//
// The files have a fixed size, are filled with zeros when they are made, and
// are used again when what they hold is not needed any more: then a sync
// writes the record and nothing else, neither blocks that were allocated nor
// the length of the file, which halves the time it takes.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/ringback/ringback/store/badger/durable"
)

// Options are the options of a journal.
type Options struct {
	// SegmentSize is the size of each file in bytes. A record must fit into one.
	SegmentSize int64
	// Secret encrypts what is written, with AES-GCM and a key for each use of a
	// file that is derived from it. Nil: no encryption. It is needed as well to
	// read what was encrypted.
	Secret []byte
	// Applied tells where the records that the caller has applied so far may
	// still be at risk: they are safe, for good, once first has become larger
	// than last is now. Both only grow.
	Applied func() (first, last uint64, err error)
	// Full is called by Reserve or Append when a file is full and the next record
	// goes to another. The caller calls release, from any goroutine, when it has
	// applied all that was appended before; that of a later file does as well. An
	// error of Full is returned by Reserve or Append. Nil: the caller has applied
	// a record when it appends the next.
	Full func(release func()) error
	// Logger gets what was found damaged. Nil: nothing is logged.
	Logger *zap.Logger
}

// Journal is a journal in a directory. Open makes one. Reserve and Append are
// for one goroutine at a time; the other methods may be called meanwhile.
type Journal struct {
	dir     string
	options Options

	number  uint64 // of the next record
	current *segment
	seal    *sealer // of current
	// buffer is what is to be written at offset base: whole pages, the first
	// of which may hold records that are on the disk already. The kernel would
	// have to read a page first of which only a part is written.
	buffer []byte
	base   int64
	broken error // why nothing can be appended any more

	mu       sync.Mutex
	segments []*segment // all but current, oldest first: the first may be used again
	files    uint64     // how many were made
}

// Open opens the journal in a directory, which must be there for good, and
// calls replay with each record that may be needed, in the order in which they
// were appended. A record is valid only during the call. An error of replay
// ends Open and is returned; all records will be told again.
//
// Only one process may have the journal open, which is the caller's care.
func Open(dir string, options Options, replay func(record []byte) error) (*Journal, error) {
	if options.Logger == nil {
		options.Logger = zap.NewNop()
	}
	options.SegmentSize = (options.SegmentSize + pageSize - 1) / pageSize * pageSize
	j := &Journal{dir: dir, options: options}
	replayed, err := j.read(replay)
	if err == nil {
		// What was replayed is in the files that were found, until it is safe. A
		// file that ended in the middle of a record is not continued.
		err = j.next()
	}
	if err == nil && len(replayed) > 0 {
		j.release(replayed[len(replayed)-1])
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Reserve makes sure that there is room for a record of so many bytes, which
// may take a new file. An error, as of a full disk, leaves the journal as it
// is: nothing was written of any record.
func (j *Journal) Reserve(size int) error {
	if j.broken != nil {
		return j.broken
	}
	if j.fits(size) {
		return nil
	}
	if int64(size)+int64(headerSize+overhead) > j.options.SegmentSize {
		return fmt.Errorf("a record of %d bytes does not fit into a journal's file of %d bytes", size, j.options.SegmentSize)
	}
	full := j.current
	if err := j.next(); err != nil {
		return err
	}
	release := func() { j.release(full) }
	if j.options.Full == nil {
		release()
		return nil
	}
	return j.options.Full(release)
}

// fits says whether the current file has room for a record.
func (j *Journal) fits(size int) bool {
	return j.base+int64(len(j.buffer)+size)+overhead <= j.options.SegmentSize
}

// Append makes a record durable. After an error it may be kept or not, and
// nothing more can be appended, since a later sync could claim success for
// what the system gave up on (fsync(2)).
func (j *Journal) Append(record []byte) error {
	if err := j.Reserve(len(record)); err != nil {
		return err
	}
	start := len(j.buffer)
	j.buffer = slices.Grow(j.buffer, len(record)+overhead+pageSize)
	j.buffer = append(j.buffer, make([]byte, recordHeader)...)
	j.buffer = j.seal.append(j.buffer, record, j.number)
	head, payload := j.buffer[start:start+recordHeader], j.buffer[start+recordHeader:]
	binary.LittleEndian.PutUint32(head[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(head[8:], j.number)
	binary.LittleEndian.PutUint32(head, j.current.checksum(j.buffer[start+4:]))
	j.number++

	end := len(j.buffer)
	whole := (end + pageSize - 1) / pageSize * pageSize
	j.buffer = append(j.buffer, make([]byte, whole-end)...)
	err := j.current.write(j.buffer, j.base)
	if err != nil {
		j.broken = fmt.Errorf("journal stopped after it could not write: %w", err)
		return err
	}
	done := end / pageSize * pageSize
	rest := copy(j.buffer, j.buffer[done:end])
	j.buffer, j.base = j.buffer[:rest], j.base+int64(done)
	if cap(j.buffer) > maxBuffer {
		j.buffer = slices.Clone(j.buffer)
	}
	return nil
}

const (
	pageSize  = 4096
	maxBuffer = 1 << 20 // that is kept between records
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Trim gives back the disk space of what is not needed any more.
func (j *Journal) Trim() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	first, _, err := j.options.Applied()
	for err == nil && len(j.segments) > 0 && j.segments[0].applied < first {
		if err = j.segments[0].remove(); err == nil {
			j.segments = j.segments[1:]
		}
	}
	return err
}

// Close closes the files, and leaves them to the next Open.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	for _, s := range j.all() {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// Remove closes the journal and removes its files, when all that was appended
// is safe.
func (j *Journal) Remove() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.all() { // oldest first: what is left of them has no gap
		if err := s.remove(); err != nil {
			return err
		}
	}
	return durable.Dir(j.dir)
}

func (j *Journal) all() []*segment {
	if j.current == nil {
		return j.segments
	}
	return append(j.segments[:len(j.segments):len(j.segments)], j.current)
}
