package journal

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"github.com/ringback/ringback/store/badger/durable"
)

const extension = ".journal"

// segment is one file of the journal.
type segment struct {
	header
	path    string
	file    *os.File
	size    int64
	count   uint64 // records that were found in it
	applied uint64 // what has to be over before it may be used again
}

// unapplied is the applied of a file that has records which are not applied.
const unapplied = math.MaxUint64

// openSegment opens a file that is there, and counts its records.
func openSegment(path string, secret []byte) (*segment, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &segment{path: path, size: int64(len(content))}
	h, ok, err := decodeHeader(content)
	if err == nil && ok {
		s.header = h
		s.count, err = h.records(content, secret, nil)
	}
	if err == nil {
		s.file, err = os.OpenFile(path, os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return s, nil
}

// makeSegment makes a file, all of whose blocks are on the disk.
func makeSegment(path string, size int64) (s *segment, err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	s = &segment{path: path, file: file, size: size}
	zeros := make([]byte, min(size, 1<<20))
	for at := int64(0); err == nil && at < size; at += int64(len(zeros)) {
		_, err = file.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = durable.Dir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// write makes durable what is written.
func (s *segment) write(b []byte, at int64) error {
	if _, err := s.file.WriteAt(b, at); err != nil {
		return err
	}
	return durable.Data(s.file)
}

func (s *segment) remove() error {
	err := os.Remove(s.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return s.file.Close()
}

// read finds the files, and replays the newest records that have no gap. It
// returns the files that have them.
func (j *Journal) read(replay func([]byte) error) (needed []*segment, err error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != extension {
			continue
		}
		s, err := openSegment(filepath.Join(j.dir, entry.Name()), j.options.Secret)
		if err != nil {
			return nil, err
		}
		j.segments = append(j.segments, s)
	}
	slices.SortFunc(j.segments, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
	j.number = 1
	for _, s := range j.segments {
		if s.count == 0 {
			continue
		}
		if len(needed) > 0 && s.first != j.number {
			// Files are given up oldest first: what is before a gap is not needed
			// either. Or else a file is damaged, and the caller has what was in it
			// only if that was applied. To replay what is before the gap would take
			// back what is in it.
			j.options.Logger.Error("the journal of the task store has a gap: a file in it was damaged or removed; going on with what the database has",
				zap.String("before", s.path), zap.Uint64("from", j.number), zap.Uint64("to", s.first-1))
			for _, s := range needed {
				s.applied = 0
			}
			needed = nil
		}
		s.applied = unapplied
		needed = append(needed, s)
		j.number = s.first + s.count
	}
	for _, s := range needed {
		content, err := os.ReadFile(s.path) // again: all of them may be too much to keep
		if err != nil {
			return nil, err
		}
		if _, err := s.records(content, j.options.Secret, replay); err != nil {
			return nil, fmt.Errorf("journal %s: %w", s.path, err)
		}
	}
	return needed, nil
}

// next goes on to another file: one that is not needed any more, or a new one.
// Its header is written with its first record.
func (j *Journal) next() error {
	first, _, err := j.options.Applied()
	if err != nil {
		return err
	}
	h := header{kind: plain, first: j.number}
	if j.options.Secret != nil {
		h.kind = sealed
	}
	rand.Read(h.salt[:])
	seal, err := newSealer(&h, j.options.Secret)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s, err := j.unneeded(first)
	if err == nil && s == nil {
		s, err = j.grow()
	}
	if err != nil {
		return err
	}
	if j.current != nil {
		j.current.applied = unapplied
		j.segments = append(j.segments, j.current)
	}
	s.header = h
	j.current, j.seal = s, seal
	j.buffer, j.base = append(j.buffer[:0], s.encode()...), 0
	return nil
}

// release says that the records in a file that is full, and in those before
// it, are applied.
func (j *Journal) release(full *segment) {
	_, last, err := j.options.Applied()
	if err != nil { // the next one will do it
		j.options.Logger.Warn("a file of the journal of the task store is not used again for now", zap.String("file", full.path), zap.Error(err))
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments[:slices.Index(j.segments, full)+1] {
		if s.applied == unapplied {
			s.applied = last
		}
	}
}

// spare is how many files that are not needed are kept, to be used again.
const spare = 8

// unneeded takes a file that is not needed any more, if there is one. It
// removes those that are too many, or are of another size since the options
// were others: oldest first, so that what is left has no gap.
func (j *Journal) unneeded(first uint64) (*segment, error) {
	free := 0
	for free < len(j.segments) && j.segments[free].applied < first {
		free++
	}
	for ; free > 0; free-- {
		s := j.segments[0]
		if free <= spare && s.size == j.options.SegmentSize {
			j.segments = j.segments[1:]
			return s, nil
		}
		if err := s.remove(); err != nil {
			return nil, err
		}
		j.segments = j.segments[1:]
	}
	return nil, nil
}

// grow makes a new file.
func (j *Journal) grow() (*segment, error) {
	for {
		j.files++
		s, err := makeSegment(filepath.Join(j.dir, fmt.Sprintf("%06d%s", j.files, extension)), j.options.SegmentSize)
		if !errors.Is(err, os.ErrExist) {
			return s, err
		}
	}
}
