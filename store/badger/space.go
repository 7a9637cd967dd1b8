package badger

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/task"
)

// need is what a step needs of the disk. As space gets short, new tasks are
// refused first; the steps of those that were taken may use half of what is
// left, and removing, which makes room, half of that. While Badger compacts,
// there may for a moment be less than there was: what is refused then is worth
// another try.
//
// Nothing may go on until the disk is really full: Badger writes through
// mapped memory, and where the file system has no block for a page the kernel
// kills the process.
type need int

const (
	toRead need = iota
	toRemove
	toSave
	toCreate
)

// space knows how much room there is.
type space struct {
	dir      string
	db       *badger.DB
	memTable int64
	minFree  int64
	maxBytes int64

	mu       sync.Mutex
	at       time.Time // when the following were looked up
	since    int64     // bytes written since then
	headroom int64
	database int64 // bytes on disk, with what was written since
	bodies   int64 // bytes on disk
}

func newSpace(dir string, db *badger.DB, o Options) *space {
	return &space{dir: dir, db: db, memTable: o.MemTableSize, minFree: o.MinFree, maxBytes: o.MaxBytes}
}

// room returns the most demanding need that can be served.
func (s *space) room() need {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookUp()
	if s.minFree > 0 {
		free, err := freeBytes(s.dir)
		switch keep := s.minFree + s.headroom; {
		case err != nil: // then there is no telling, and refusing would be for ever
		case free < keep/4:
			return toRead
		case free < keep/2:
			return toRemove
		case free < keep:
			return toSave
		}
	}
	if s.maxBytes > 0 && s.database+s.bodies >= s.maxBytes {
		return toSave
	}
	return toCreate
}

// left is how many bytes there is room for, on the disk and by MaxBytes.
func (s *space) left() int64 {
	left := int64(math.MaxInt64)
	if free, err := freeBytes(s.dir); err == nil {
		left = free
	}
	if s.maxBytes > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lookUp()
		left = min(left, s.maxBytes-s.database-s.bodies)
	}
	return left
}

// check returns task.ErrNoSpace if what is needed can't be served.
func (s *space) check(n need) error {
	if n > s.room() {
		return task.ErrNoSpace
	}
	return nil
}

// lookUp looks up what changes slowly and takes a while, now and then.
func (s *space) lookUp() {
	if s.since < s.memTable/8 && time.Since(s.at) < 250*time.Millisecond {
		return
	}
	s.at, s.since = time.Now(), 0
	if s.maxBytes > 0 {
		s.database = diskUsage(filepath.Join(s.dir, dbDir)) + diskUsage(filepath.Join(s.dir, journalDir))
	}
	// Both memtables may be written out, and what is recent to Badger's log.
	s.headroom = 4*s.memTable + compaction(s.db.Levels())
}

// compaction is how much room a compaction takes: it writes its outcome before
// it deletes what that was made from, all of the upper levels and some tables
// of the last, but never more than there is.
func compaction(levels []badger.LevelInfo) int64 {
	all := upper(levels) + levels[len(levels)-1].Size
	return min(all, upper(levels)+32<<20)
}

// upper is the size of all levels but the last.
func upper(levels []badger.LevelInfo) (n int64) {
	for _, level := range levels[:len(levels)-1] {
		n += level.Size
	}
	return n
}

// checkCompaction returns task.ErrNoSpace if there is no room for a
// compaction, and a memtable that is written out meanwhile.
func (s *space) checkCompaction() error {
	if s.minFree < 0 {
		return nil
	}
	free, err := freeBytes(s.dir)
	if err == nil && free < compaction(s.db.Levels())+s.memTable {
		return fmt.Errorf("%w to compact it", task.ErrNoSpace)
	}
	return nil
}

// checkFlush returns task.ErrNoSpace if Badger can't be given a generation, or
// could not make the file of another memtable, which it would not survive.
func (s *space) checkFlush() error {
	if err := s.check(toRemove); err != nil {
		return err
	}
	path := filepath.Join(s.dir, dbDir, "room"+unfinished)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return noRoom(err)
	}
	return noRoom(errors.Join(file.Truncate(2*s.memTable), file.Close(), os.Remove(path)))
}

// noRoom makes any error a task.ErrNoSpace.
func noRoom(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", task.ErrNoSpace, err)
}

// wrote counts bytes that were written to the database.
func (s *space) wrote(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.database += n
	s.since += n
}

// keep counts bytes of bodies: negative for those removed.
func (s *space) keep(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies += n
}

// diskUsage is how much disk the files of a directory take. Files that vanish
// meanwhile don't count.
func diskUsage(dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			n += allocated(info)
		}
	}
	return n
}

// checkRoom keeps Badger from being opened on a disk where its first writes
// would kill the process.
func checkRoom(dir string, o Options) error {
	if o.MinFree < 0 {
		return nil
	}
	first := 1<<20 + 2*o.journalFileSize()
	free, err := freeBytes(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("task store %s: looking up free disk space: %w", dir, err)
	}
	if free < first {
		return fmt.Errorf("task store %s: %w: %d bytes are free on its disk; free %d at least to open it", dir, task.ErrNoSpace, free, first)
	}
	return nil
}
