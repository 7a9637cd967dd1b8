package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ringback/ringback/store/badger/durable"
)

// Contents is what is in the directory of a journal.
type Contents struct {
	// Exists says that there is a journal.
	Exists bool
	// Checkpoint is the number of a record: it and those before are in the
	// database for good.
	Checkpoint uint64
	// Last is the number of the last record.
	Last uint64
	// Gap says what is missing of a journal of version 1, which either was not
	// needed any more or is damaged: that can't be told. Empty: nothing.
	Gap string
	// FileSize is the size of the largest file in bytes; zero if there is none.
	FileSize int64

	dir   string
	read  func(path string) ([]byte, error)
	files []found // that have records after the checkpoint, oldest first
}

// found is a file that was found.
type found struct {
	header
	path   string
	count  uint64
	actual int64 // size
}

func (f *found) last() uint64 { return f.first + f.count - 1 }

// DamageError says that what was acknowledged can't be read, or may be missing.
type DamageError struct {
	Path   string
	Offset int // zero if the file as a whole is meant
	Reason string
}

func (e *DamageError) Error() string {
	if e.Offset > 0 {
		return fmt.Sprintf("%s is damaged at offset %d: %s", e.Path, e.Offset, e.Reason)
	}
	return fmt.Sprintf("%s: %s", e.Path, e.Reason)
}

// Read reads what is in the directory of a journal, and changes nothing.
//
// The end of what was written when the process or the machine stopped is told
// from damage, which is a [*DamageError]: then records are missing that were
// durable once.
func Read(dir string) (*Contents, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == extension {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	c := &Contents{dir: dir, read: os.ReadFile}
	return c, c.find(paths)
}

// find reads the files.
func (c *Contents) find(paths []string) error {
	var all, old []found
	for _, path := range paths {
		f, err := c.findOne(path)
		if err != nil {
			return err
		}
		c.FileSize = max(c.FileSize, f.actual)
		c.Checkpoint = max(c.Checkpoint, f.checkpoint)
		if isNamed(path) {
			all = append(all, f)
		} else {
			old = append(old, f)
		}
	}
	c.Exists = len(all) == len(names) || len(old) > 0
	switch {
	case len(all) == len(names): // old files were about to be removed
	case len(old) > 0:
		all = append(all, old...) // the first of the new ones may have been made
	case len(all) > 0 && (filepath.Base(all[0].path) != names[0] || all[0].count > 0 || all[0].checkpoint > 0):
		// Else the process was killed when it had made the first of the first two.
		return &DamageError{Path: c.dir, Reason: fmt.Sprintf("one of the two files of the journal, %s and %s, is missing", names[0], names[1])}
	}
	return c.choose(all)
}

// isNamed says that a file is not one of version 1.
func isNamed(path string) bool { return slices.Contains(names[:], filepath.Base(path)) }

func (c *Contents) findOne(path string) (f found, err error) {
	content, err := c.read(path)
	if err != nil {
		return f, err
	}
	h, ok, err := decodeHeader(content)
	if err != nil {
		return f, fmt.Errorf("journal %s: %w", path, err)
	}
	f = found{header: h, path: path, actual: int64(len(content))}
	switch {
	case !ok && isNamed(path):
		return f, &DamageError{Path: path, Reason: "the header of this file of the journal is damaged"}
	case !ok && len(bytes.TrimRight(content[:min(len(content), headerSize)], "\x00")) > 0:
		return f, &DamageError{Path: path, Reason: "the header of this file of an older journal is damaged"}
	case !ok: // never used
		return f, nil
	case f.actual < h.size:
		return f, &DamageError{Path: path, Reason: fmt.Sprintf("this file of the journal is cut off: it has %d bytes of %d", f.actual, h.size)}
	}
	records, end := h.records(content)
	f.count = uint64(len(records))
	if h.damaged(content, end, h.first+f.count) {
		return f, &DamageError{Path: path, Offset: end, Reason: fmt.Sprintf("record %d of the journal can't be read, and what follows it shows that it was acknowledged", h.first+f.count)}
	}
	return f, nil
}

// choose keeps the files that are needed. Their records have no gap.
func (c *Contents) choose(all []found) error {
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.first, b.first) })
	c.Last = c.Checkpoint
	for _, f := range all {
		if f.count == 0 || f.last() <= c.Checkpoint {
			continue
		}
		next := c.Last + 1
		switch older := len(c.files) - 1; {
		case f.first == next, f.first < next && older < 0:
		case f.version == oldVersion:
			// These were given up oldest first, and that was not durable: what is
			// before a gap is not needed.
			if len(c.files) > 0 {
				c.Gap = fmt.Sprintf("records %d to %d before %s", next, f.first-1, f.path)
			}
			c.files = nil
		case f.first == next-1 && f.first > c.files[older].first:
			// The older file ends with a record that was written, but not for sure:
			// nobody was told that it is kept, and this file has what came instead.
			c.files[older].count--
		default:
			return &DamageError{Path: f.path, Reason: fmt.Sprintf("the journal has a gap: it begins with record %d, and record %d is missing", f.first, next)}
		}
		c.files = append(c.files, f)
		c.Last = f.last()
	}
	return nil
}

// Sync makes durable what was read: the process that wrote it may have been
// killed before it was.
func (c *Contents) Sync() error {
	for _, f := range c.files {
		file, err := os.OpenFile(f.path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(durable.Data(file), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Empty says that no record is after the checkpoint.
func (c *Contents) Empty() bool { return len(c.files) == 0 }

// Replay calls each with the records after the checkpoint, those of one file at
// a time, in the order in which they were appended. They are the callee's.
//
// The secret is needed for what was encrypted with it. With onlySealed, what
// was not encrypted is an error: someone else wrote it.
func (c *Contents) Replay(secret []byte, onlySealed bool, each func(records [][]byte) error) error {
	for _, f := range c.files {
		if err := c.replay(&f, secret, onlySealed, each); err != nil {
			return fmt.Errorf("journal %s: %w", f.path, err)
		}
	}
	return nil
}

func (c *Contents) replay(f *found, secret []byte, onlySealed bool, each func(records [][]byte) error) error {
	if onlySealed && f.kind == plain {
		return errors.New("it is not encrypted, and should be: it was tampered with, or belongs elsewhere")
	}
	seal, err := newSealer(&f.header, secret)
	if err != nil {
		return err
	}
	content, err := c.read(f.path)
	if err != nil {
		return err
	}
	records, _ := f.records(content)
	if uint64(len(records)) < f.count {
		return errors.New("it changes while it is read: another process writes to it")
	}
	records = records[:f.count]
	for i, record := range records {
		if records[i], err = seal.open(record, f.first+uint64(i)); err != nil {
			return err
		}
	}
	return each(records)
}
