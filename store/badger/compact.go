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
	db       *badger.DB
	space    *space
	memTable int64
	after    time.Duration // of quiet
	enough   int           // removed tasks that are worth it

	flattening sync.Mutex    // Badger can't do two at a time
	wake       chan struct{} // a memtable was filled, or the quiet is over

	mu         sync.Mutex
	lastWrite  time.Time
	written    int64     // bytes to Badger since wake
	unreturned int64     // bytes since memory was given back to the system
	again      time.Time // when to do so once more; zero if not
	resting    bool      // no timer runs: the next write wakes
	gone       int       // tasks removed since the last compaction
}

// Tables of level 0, each of which was a memtable.
const (
	fewTables  = 5  // not worth the while
	manyTables = 64 // worth it, whatever else happens
	// tooManyTables is when Badger makes writers wait for the compactor.
	tooManyTables = 160
	// manyBytes in level 0 are enough even if they are less than manyTables.
	manyBytes = 1 << 30
)

func newCompactor(db *badger.DB, space *space, memTable int64) *compactor {
	return &compactor{
		db: db, space: space, memTable: memTable,
		after: 5 * time.Second, enough: 1000,
		wake:      make(chan struct{}, 1),
		lastWrite: time.Now(),
		// Opening reads logs and the journal, which leaves something behind, too.
		unreturned: muchMemory(memTable),
	}
}

// wrote says that so many bytes were written just now.
func (c *compactor) wrote(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastWrite = time.Now()
	c.unreturned += n
	if c.resting {
		c.wakeUp()
	}
}

// filled says that Badger has got so many bytes.
func (c *compactor) filled(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written += n
	if c.written >= c.memTable {
		c.wakeUp()
	}
}

// wakeUp has the compactor look for work. The caller has the lock.
func (c *compactor) wakeUp() {
	c.resting, c.written = false, 0
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// removed says that so many tasks were removed from the database.
func (c *compactor) removed(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone += n
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

// rest says whether the compactor may wait for the next write, which then wakes it.
func (c *compactor) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = time.Since(c.lastWrite) >= c.after
	return c.resting
}

// tidy gives back what is not needed when it is quiet: memory, disk space, and
// files of the journal. It returns after what time there will be more of it, or
// zero.
func (s *Store) tidy(ctx context.Context) (again time.Duration, err error) {
	if err := s.writeRecent(ctx); err != nil {
		return 0, err
	}
	c := s.compactor
	switch removals := c.removals(); {
	case removals >= c.enough, removals > 0 && c.space.room() < toCreate:
		err = s.compact(ctx)
	case c.db.Levels()[0].NumTables >= fewTables:
		err = c.flatten()
	}
	again = c.returnMemory()
	return again, errors.Join(err, s.journal.Trim())
}

// muchMemory is how many written bytes leave enough behind to give it back.
func muchMemory(memTable int64) int64 { return 4 * memTable }

// returnMemory gives the system back what a flood has left behind, for which
// the garbage collector takes its time when there is nothing to do. It returns
// after what time there will be more of it, or zero.
func (c *compactor) returnMemory() (after time.Duration) {
	c.mu.Lock()
	much := c.unreturned >= muchMemory(c.memTable)
	due := much || !c.again.IsZero() && time.Until(c.again) <= 0
	switch {
	case much:
		c.unreturned, c.again = 0, time.Now().Add(builders)
	case due:
		c.again = time.Time{}
	}
	if !c.again.IsZero() {
		after = time.Until(c.again)
	}
	c.mu.Unlock()
	if due {
		debug.FreeOSMemory()
	}
	return after
}

// builders is more than the time that Badger keeps the memory it has built
// tables with: it gives up one of eight pieces every 2 s.
const builders = 20 * time.Second

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

// flatten sorts all that is on disk into one level. task.ErrNoSpace: there is
// no room to do it.
func (c *compactor) flatten() error {
	c.flattening.Lock()
	defer c.flattening.Unlock()
	if err := c.space.checkCompaction(); err != nil {
		return err
	}
	return c.db.Flatten(1)
}

// run compacts until ctx ends.
func (c *compactor) run(ctx context.Context, s *Store) {
	timer := time.NewTimer(c.after)
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
		var again time.Duration
		quiet := c.quiet() == 0
		if c.crowded() { // first, as writers may wait for it, and tidy for them
			err, quiet = c.flatten(), false
		} else if quiet {
			again, err = s.tidy(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil && !errors.Is(err, task.ErrClosed) {
			s.log.Warn("task store was not tidied up; trying again until it works", zap.Error(err))
		}
		if failing = err != nil; !failing && quiet && again == 0 && c.rest() {
			timer.Stop()
			continue
		}
		timer.Reset(max(c.quiet(), again, time.Second))
	}
}

// compact gives back the disk space of what was removed: also of the latest
// removals, which are in the memtable.
func (s *Store) compact(ctx context.Context) error {
	gone := s.compactor.removals()
	short := s.space.check(toSave)
	if short == nil {
		if err := s.flush(ctx); err != nil {
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

// flush has all that was written so far written out into tables. Badger does
// that when the memtable is full, and only then: so it is filled.
func (s *Store) flush(ctx context.Context) error {
	if err := s.writeRecent(ctx); err != nil {
		return err
	}
	path := filepath.Join(s.dir, dbDir)
	_, full, err := logs(path)
	if err != nil {
		return err
	}
	name, fill := []byte{metaKey, 'f'}, make([]byte, s.chunk)
	for last := full; last == full; { // until there is another log
		if err := errors.Join(ctx.Err(), s.space.check(toSave)); err != nil {
			return err
		}
		// The journal need not have it: it means nothing.
		if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(name, fill) }); err != nil {
			return err
		}
		if _, last, err = logs(path); err != nil {
			return err
		}
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(name) }); err != nil {
		return err
	}
	for range 200 { // the log of a memtable is deleted when it was written out
		first, last, err := logs(path)
		if err != nil || first == last {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
