// Package journal is a write-ahead log: records that are on the disk when
// Append returns, and that are told again when the journal is opened next,
// unless a database had them for good by then.
//
//	journal.go  Open, Append, Rotate
//	read.go     what a directory holds, and whether it is sound
//	record.go   what a file holds
//
// There are two files of a fixed size, used in turn. They are filled with zeros
// when they are made: then a sync writes the record and nothing else, neither
// blocks that were allocated nor the length of the file, which halves the time
// it takes. When a file is full the other one is begun, which its header says,
// and up to which record the database has everything: whatever the other file
// held, all of it included. What comes later is in the two files, or it was
// never acknowledged.
package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ringback/ringback/store/badger/durable"
)

const (
	extension  = ".journal"
	unfinished = ".tmp"
	pageSize   = 4096
	maxBuffer  = 1 << 20 // that is kept between records
)

// names are the files' names.
var names = [2]string{"a" + extension, "b" + extension}

// Options are the options of a journal.
type Options struct {
	// FileSize is the size of each of the two files in bytes. A record must fit
	// into one.
	FileSize int64
	// Secret encrypts what is written, with AES-GCM and a key for each use of a
	// file that is derived from it. Nil: no encryption.
	Secret []byte
	// Wrap, if not nil, takes the place of each file, by its name. It is for tests
	// of what becomes of files.
	Wrap func(name string, f File) File
}

// Journal is a journal in a directory. Open makes one. It is for one goroutine
// at a time.
type Journal struct {
	options Options
	files   [2]File
	active  int // of files: the one that is written to

	number uint64 // of the next record
	header header // of the active file
	seal   *sealer
	// buffer is what is to be written at offset base: whole pages, the first
	// of which may hold records that are on the disk already. The kernel would
	// have to read a page first of which only a part is written.
	buffer []byte
	base   int64
}

// File is what a journal needs of its files.
type File interface {
	io.WriterAt
	io.Closer
	// Data makes durable what was written.
	Data() error
}

type osFile struct{ *os.File }

func (f osFile) Data() error { return durable.Data(f.File) }

// Open begins a journal in a directory whose contents were read, and are all
// in the database for good by now. What is there is removed.
func Open(contents *Contents, options Options) (*Journal, error) {
	dir := contents.dir
	options.FileSize = (options.FileSize + pageSize - 1) / pageSize * pageSize
	j := &Journal{options: options, number: contents.Last + 1}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	empty := header{version: version, kind: plain, first: j.number, checkpoint: contents.Last, size: options.FileSize}
	for i, name := range names {
		rand.Read(empty.salt[:])
		var err error
		if j.files[i], err = empty.begin(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(err, j.Close())
		}
		if options.Wrap != nil {
			j.files[i] = options.Wrap(name, j.files[i])
		}
	}
	if err := durable.Dir(dir); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	// From here on the files of version 1, and what was not finished, mean nothing.
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		ours := filepath.Ext(entry.Name()) == extension || filepath.Ext(entry.Name()) == unfinished
		if ours && !slices.Contains(names[:], entry.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, entry.Name())))
		}
	}
	if err = errors.Join(err, j.Rotate(contents.Last)); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// begin opens the file of a header, which is made anew unless it is there and
// has the size.
func (h *header) begin(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.Size() == h.size {
			return osFile{f}, h.write(osFile{f})
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return h.make(path)
}

// make makes a file, all of whose blocks are on the disk.
func (h *header) make(path string) (File, error) {
	f, err := os.OpenFile(path+unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, min(h.size, 1<<20))
	for at := int64(0); err == nil && at < h.size; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), h.size-at)], at)
	}
	if err == nil {
		_, err = f.WriteAt(h.encode(), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path+unfinished))
	}
	return osFile{f}, nil
}

// write makes a header durable.
func (h *header) write(f File) error {
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return err
	}
	return f.Data()
}

// Last is the number of the last record that was appended.
func (j *Journal) Last() uint64 { return j.number - 1 }

// Capacity is the size of the largest record that a file can take.
func (j *Journal) Capacity() int { return int(j.options.FileSize) - headerSize - overhead }

// Fits says whether the active file has room for a record of so many bytes.
func (j *Journal) Fits(size int) bool {
	return j.base+int64(len(j.buffer)+size)+overhead <= j.options.FileSize
}

// Rotate goes on to the other file, and gives up what is in that. The caller
// has all of it in the database for good: the records up to checkpoint.
//
// An error leaves the journal as it is; Rotate may be called again.
func (j *Journal) Rotate(checkpoint uint64) error {
	h := header{version: version, kind: plain, first: j.number, checkpoint: checkpoint, size: j.options.FileSize}
	if j.options.Secret != nil {
		h.kind = sealed
	}
	rand.Read(h.salt[:])
	seal, err := newSealer(&h, j.options.Secret)
	if err != nil {
		return err
	}
	other := 1 - j.active
	if err := h.write(j.files[other]); err != nil {
		return err
	}
	j.active, j.header, j.seal = other, h, seal
	j.buffer, j.base = append(j.buffer[:0], h.encode()...), 0
	return nil
}

// Append makes a record durable, which [Journal.Fits]. After an error the
// record may be told by the next Read or not, unless another one is appended:
// that takes its place, and all that it needs is written again, so that what
// the system gave up on does not matter (see fsync(2)).
func (j *Journal) Append(record []byte) error {
	if !j.Fits(len(record)) {
		return fmt.Errorf("a record of %d bytes does not fit into a file of the journal, which has %d", len(record), j.options.FileSize)
	}
	start := len(j.buffer)
	j.buffer = slices.Grow(j.buffer, len(record)+overhead+pageSize)
	j.buffer = append(j.buffer, make([]byte, headSize)...)
	j.buffer = j.seal.append(j.buffer, record, j.number)
	j.header.putHead(j.buffer[start:], uint32(len(j.buffer)-start-headSize), j.number)

	end := len(j.buffer)
	whole := (end + pageSize - 1) / pageSize * pageSize
	j.buffer = append(j.buffer, make([]byte, whole-end)...)
	file := j.files[j.active]
	_, err := file.WriteAt(j.buffer, j.base)
	if err == nil {
		err = file.Data()
	}
	if err != nil {
		j.buffer = j.buffer[:start]
		return err
	}
	j.number++
	done := end / pageSize * pageSize
	rest := copy(j.buffer, j.buffer[done:end])
	j.buffer, j.base = j.buffer[:rest], j.base+int64(done)
	if cap(j.buffer) > maxBuffer {
		j.buffer = slices.Clone(j.buffer)
	}
	j.mark()
	return nil
}

// Try finds out whether a record could be made durable, without one.
func (j *Journal) Try() error {
	f := j.files[j.active]
	if _, err := f.WriteAt(j.endMark(), j.base+int64(len(j.buffer))); err != nil {
		return err
	}
	return f.Data()
}

// mark writes an end mark, in vain if it fails: then a record that is damaged
// later looks like one that was never finished.
func (j *Journal) mark() {
	_, _ = j.files[j.active].WriteAt(j.endMark(), j.base+int64(len(j.buffer)))
}

func (j *Journal) endMark() []byte {
	mark := make([]byte, headSize)
	j.header.putHead(mark, endMark, j.number)
	return mark
}

// Close closes the files, and leaves them to the next Read.
func (j *Journal) Close() error {
	var err error
	for _, f := range j.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}
