package badger

import (
	"context"
	"errors"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// compactor decides when the database is compacted, instead of Badger's own
// compactors. Those look for work twenty times a second each, which an idle
// process should not, and begin as soon as five memtables were written out:
// then most of what they sort and copy is of tasks that will be gone a little
// later. Writing a table costs more than all else that a task takes of the
// store, since Badger does it through mapped memory, and the kernel interrupts
// the other processors for each page. So it is done in large batches under
// load, and else when it is quiet.
type compactor struct {
	db     *badger.DB
	space  *space
	after  time.Duration // of quiet
	enough int           // removed tasks that are worth it
	much   int64         // bytes after which memory is given back

	flattening sync.Mutex    // Badger can't do two at a time
	wake       chan struct{} // tables were filled, or the quiet is over

	mu        sync.Mutex
	lastWrite time.Time
	resting   bool  // no timer runs: the next write wakes
	gone      int   // tasks removed from the database since the last compaction
	unflushed int64 // bytes to the database since wake
	written   int64 // bytes since memory was given back
	leftovers int   // how often memory is to be given back even if nothing comes
}

// Tables of level 0, each of which was a memtable.
const (
	fewTables     = 5       // not worth the while
	manyTables    = 64      // worth it, whatever else happens
	tooManyTables = 160     // nothing is written before
	manyBytes     = 1 << 30 // in level 0 are enough, too
)

func newCompactor(db *badger.DB, space *space, memTable int64) *compactor {
	return &compactor{
		db: db, space: space,
		after: 5 * time.Second, enough: 1000, much: 4 * memTable,
		wake:      make(chan struct{}, 1),
		lastWrite: time.Now(),
		leftovers: 1, // of opening
	}
}

// manyLeftovers is how often memory is given back after a flood, since Badger
// lets go only slowly of what it has built tables with: one of eight pieces
// every 2 s.
const manyLeftovers = 4

// wrote says that so many bytes were written to the journal just now.
func (c *compactor) wrote(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastWrite = time.Now()
	if c.written += n; c.written >= c.much {
		c.written, c.leftovers = 0, manyLeftovers
	}
	if c.resting {
		c.wakeUp()
	}
}

// flushed says that Badger has got so many bytes, which removed so many tasks.
func (c *compactor) flushed(n int64, removed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone += removed
	if c.unflushed += n; c.unflushed >= c.much/4 {
		c.wakeUp()
	}
}

// wanted says that there is a lack of what the compactor may give back.
func (c *compactor) wanted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting {
		c.wakeUp()
	}
}

// wakeUp has the compactor look for work. The caller has the lock.
func (c *compactor) wakeUp() {
	c.resting, c.unflushed = false, 0
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// removals is how many tasks were removed since the last compaction.
func (c *compactor) removals() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// quiet returns how long to wait until it is quiet: zero if it is.
func (c *compactor) quiet() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.after-time.Since(c.lastWrite))
}

// tidy gives back what is not needed when it is quiet: disk space and memory.
func (s *Store) tidy(ctx context.Context) error {
	if err := s.flushNow(ctx); err != nil {
		return err
	}
	c := s.compactor
	var err error
	switch removals := c.removals(); {
	case removals >= c.enough, removals > 0 && c.space.room() < toCreate:
		err = s.compact(ctx)
	case c.db.Levels()[0].NumTables >= fewTables:
		err = c.flatten()
	}
	c.mu.Lock()
	give := c.leftovers > 0
	c.leftovers = max(0, c.leftovers-1)
	c.mu.Unlock()
	if give { // the garbage collector takes its time when there is nothing to do
		debug.FreeOSMemory()
	}
	return err
}

// rest says whether the compactor may wait for the next write, which then wakes it.
func (c *compactor) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = c.leftovers == 0 && time.Since(c.lastWrite) >= c.after
	return c.resting
}

// crowded says that it is time to compact even under load.
func (c *compactor) crowded() bool {
	levels := c.db.Levels()
	level0 := levels[0]
	switch {
	case level0.NumTables >= manyTables, level0.NumTables >= fewTables && level0.Size >= manyBytes:
		return true
	case c.space.room() < toCreate: // what can be given back, is wanted
		return upper(levels) > 0
	case level0.NumTables < fewTables:
		return false
	default: // as long as there is room for it
		return level0.Size > c.space.left()/4
	}
}

// overcrowded says that nothing may be written before a compaction.
func (c *compactor) overcrowded() bool { return c.db.Levels()[0].NumTables >= tooManyTables }

// flatten sorts all that is on disk into one level. task.ErrNoSpace: there is
// no room to do it.
func (c *compactor) flatten() error {
	c.flattening.Lock()
	defer c.flattening.Unlock()
	if err := c.space.checkCompaction(); err != nil {
		return err
	}
	return noSpace(c.db.Flatten(1))
}

// run compacts until ctx ends.
func (c *compactor) run(ctx context.Context, s *Store) {
	timer := time.NewTimer(0) // a process that was killed often has left a table each time
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		var err error
		quiet := c.quiet() == 0
		if c.crowded() { // first, as writers may wait for it
			err, quiet = c.flatten(), false
		} else if quiet {
			err = s.tidy(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil && !errors.Is(err, task.ErrClosed) {
			s.log.Warn("task store was not tidied up; trying again until it works", zap.Error(err))
		}
		if failing = err != nil; !failing && quiet && c.rest() {
			timer.Stop()
			continue
		}
		pause := max(c.quiet(), time.Second)
		if !failing && quiet {
			pause = max(pause, c.after)
		}
		timer.Reset(pause)
	}
}

// compact gives back the disk space of what was removed: also of the latest
// removals, which are in the memtable.
func (s *Store) compact(ctx context.Context) error {
	gone := s.compactor.removals()
	short := s.space.check(toSave)
	if short == nil {
		if err := s.fillMemtable(ctx); err != nil {
			return err
		}
	}
	if err := s.compactor.flatten(); err != nil {
		return err
	}
	if short != nil { // but there may be room now
		return short
	}
	s.compactor.mu.Lock()
	defer s.compactor.mu.Unlock()
	s.compactor.gone -= gone
	return nil
}

// fillMemtable has all that was written so far made into tables. Badger does
// that when the memtable is full, and only then: so it is filled.
func (s *Store) fillMemtable(ctx context.Context) error {
	if err := s.flushNow(ctx); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	dir := filepath.Join(s.dir, dbDir)
	before, err := memtableFiles(dir)
	if err != nil {
		return err
	}
	// It means nothing, and the checkpoint need not know of it.
	name, fill := []byte{metaKey, 'f'}, make([]byte, s.chunk)
	for full := false; !full; {
		if err := errors.Join(ctx.Err(), s.space.check(toSave)); err != nil {
			return err
		}
		if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(name, fill) }); err != nil {
			return err
		}
		now, err := memtableFiles(dir)
		if err != nil {
			return err
		}
		full = now[len(now)-1] != before[len(before)-1]
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(name) }); err != nil {
		return err
	}
	return s.awaitTables(ctx, dir)
}
