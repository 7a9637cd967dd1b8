package badger

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// idle compacts the database when many tasks were removed and nothing else
// happens: Badger itself only compacts when it is written to, and would keep
// the space of what is gone until then.
type idle struct {
	memTable int64
	after    time.Duration // of quiet
	enough   int           // removed tasks

	mu        sync.Mutex
	lastWrite time.Time
	gone      int // tasks removed since the last compaction
}

func newIdle(memTable int64) *idle {
	return &idle{memTable: memTable, after: 5 * time.Second, enough: 1000, lastWrite: time.Now()}
}

// wrote says that something was written just now.
func (i *idle) wrote() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lastWrite = time.Now()
}

func (i *idle) removed() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gone++
}

// due says that it is time, because of so many removed tasks.
func (i *idle) due() (gone int, due bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.gone, i.gone >= i.enough && time.Since(i.lastWrite) >= i.after
}

// compacted says that so many removed tasks take no space any more.
func (i *idle) compacted(gone int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gone -= gone
}

func (i *idle) run(ctx context.Context, s *Store) {
	tick := time.NewTicker(i.after / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		gone, due := i.due()
		if !due {
			continue
		}
		if err := s.compact(ctx); err != nil {
			if ctx.Err() == nil {
				s.log.Warn("task store was not compacted", zap.Error(err))
			}
			continue
		}
		i.compacted(gone)
	}
}

// compact gives back the disk space of what was removed.
func (s *Store) compact(ctx context.Context) error {
	if err := s.space.check(toSave); err != nil {
		return err
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	return s.db.Flatten(1)
}

// flush has the memtable written out, which holds the latest removals. Badger
// does that when the memtable is full, and only then: so it is filled.
func (s *Store) flush(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	fill := make([]byte, s.chunk)
	name := []byte{metaKey, 'f'}
	for n := int64(0); n <= s.idle.memTable; n += int64(len(fill)) {
		if err := s.put(ctx, name, fill); err != nil {
			return err
		}
	}
	if err := s.put(ctx, name, nil); err != nil {
		return err
	}
	for range 200 { // the log of a memtable is deleted when it was written out
		logs, err := filepath.Glob(filepath.Join(s.dir, dbDir, "*.mem"))
		if err != nil || len(logs) <= 1 {
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

func (s *Store) put(ctx context.Context, key, value []byte) error {
	p := newStep(task.ID{}, toSave)
	p.writes.set(key, value)
	if err := s.enqueue(ctx, p); err != nil {
		return err
	}
	return p.wait(ctx)
}
