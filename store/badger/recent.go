package badger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/task"
)

// recent is what the journal has and Badger does not have yet, which saves
// Badger most of its work: of a task that comes and is done while its writes
// are here, Badger gets what is left in the end, if anything.
//
// A generation is what is in one file of the journal. When the file is full
// the generation is written to Badger, and another one begins.
type recent struct {
	size int64 // that values of a generation may have

	mu   sync.RWMutex
	now  *generation // that grows
	then *generation // that is being written to Badger, or could not be; nil if there is none
	// turns is how many generations there were before now.
	turns int
	// spare is one that was written, whose memory is used again.
	spare *generation
}

// generation has the latest write of each key.
type generation struct {
	entries map[string]entry
	values  []byte // of all entries, of older ones as well
	// pinned says that a reader refers to values for longer than it has the lock.
	pinned atomic.Bool
}

type entry struct {
	value []byte // nil: deleted
	// unknown says that Badger has never had the key.
	unknown bool
}

func newRecent(size int64) *recent {
	r := &recent{size: size}
	r.now = r.next()
	return r
}

// next returns an empty generation.
func (r *recent) next() *generation {
	g := r.spare
	r.spare = nil
	if g == nil {
		g = &generation{entries: make(map[string]entry)}
	}
	return g
}

// record encodes the writes of steps for the journal, and has their values
// refer to the record, which stays as it is while they are kept.
func (r *recent) record(steps []*step) []byte {
	g := r.now // which only the caller changes
	if g.values == nil {
		g.values = make([]byte, 0, r.size)
	}
	start := len(g.values)
	for _, p := range steps {
		for i := range p.writes {
			g.values = appendWrite(g.values, &p.writes[i])
		}
	}
	return g.values[start:]
}

// forget takes back the latest record.
func (r *recent) forget(record []byte) {
	r.now.values = r.now.values[:len(r.now.values)-len(record)]
}

// add adds what steps write, which is in the journal.
func (r *recent) add(steps []*step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range steps {
		if len(p.writes) > 0 {
			r.now.add(p)
		}
	}
}

func (g *generation) add(p *step) {
	unknown := p.isNew
	if first := p.writes[0].key; !unknown && first[0] == taskKey {
		unknown = g.entries[first].unknown // as the task, so all that came with it and since
	}
	for _, w := range p.writes {
		e, ok := g.entries[w.key]
		if !ok {
			e.unknown = unknown
		}
		e.value = w.value
		g.entries[w.key] = e
	}
}

// get looks up a key. The caller has the lock for as long as it needs the value.
func (r *recent) get(key string) (value []byte, ok bool) {
	e, ok := r.now.entries[key]
	if !ok && r.then != nil {
		e, ok = r.then.entries[key]
	}
	return e.value, ok
}

// all returns the writes of the keys that begin with a letter, older ones
// first. The caller has the lock, and may use them when it has it no more.
func (r *recent) all(letter byte) (all writes) {
	for _, g := range []*generation{r.then, r.now} {
		if g == nil {
			continue
		}
		g.pinned.Store(true)
		for key, e := range g.entries {
			if key[0] == letter {
				all.set(key, e.value)
			}
		}
	}
	return all
}

// latest returns the last write of each key, in order of keys.
func (w writes) latest() writes {
	slices.SortStableFunc(w, func(a, b write) int { return strings.Compare(a.key, b.key) })
	latest := w[:0]
	for i, one := range w {
		if i+1 == len(w) || w[i+1].key != one.key {
			latest = append(latest, one)
		}
	}
	return latest
}

// turn begins another generation, and returns the one that has to be written
// to Badger, and then dropped, before the next turn; nil if it was empty.
func (r *recent) turn() *generation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.now.entries) == 0 {
		r.spare = nil // it is quiet
		r.now = r.next()
		return nil
	}
	r.then, r.now = r.now, r.next()
	r.turns++
	return r.then
}

// drop forgets the generation that was written to Badger.
func (r *recent) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.then; !g.pinned.Load() {
		clear(g.entries)
		g.values = g.values[:0]
		r.spare = g
	}
	r.then = nil
}

// empty says that Badger has it all.
func (r *recent) empty() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.then == nil && len(r.now.entries) == 0
}

// turn begins another generation, and has the one before written to Badger, in
// the background. It waits until that before is written. It is for the
// committing goroutine; done is called when Badger has all that was recent.
func (s *Store) turn(done func()) error {
	s.catchUp()
	if err := s.failed(); err != nil {
		return err
	}
	g := s.recent.turn()
	if g == nil {
		done()
		return nil
	}
	written := make(chan struct{})
	s.written = written
	go func() {
		defer close(written)
		if err := s.writeOut(g); err != nil {
			s.fail(err) // the journal has it, and it will be there after a restart
			return
		}
		s.recent.drop()
		done()
	}()
	return nil
}

// catchUp waits until the latest turn is over.
func (s *Store) catchUp() {
	if s.written != nil {
		<-s.written
	}
}

// writeOut writes a generation to Badger.
func (s *Store) writeOut(g *generation) error {
	if s.beforeWrite != nil {
		if err := s.beforeWrite(); err != nil {
			return err
		}
	}
	const most = 256 // writes in one transaction, since readers have to wait for it
	txn := s.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	n, removed, size := 0, 0, int64(0)
	commit := func() error {
		err := txn.Commit()
		s.compactor.filled(size)
		s.compactor.removed(removed)
		txn = s.db.NewTransaction(true)
		n, removed, size = 0, 0, 0
		return err
	}
	for name, e := range g.entries {
		if e.value == nil && e.unknown {
			continue
		}
		k := []byte(name)
		put := func() error {
			if e.value == nil {
				return txn.Delete(k)
			}
			return txn.Set(k, e.value)
		}
		err := put()
		if errors.Is(err, badger.ErrTxnTooBig) {
			if err = commit(); err == nil {
				err = put()
			}
		}
		if err != nil {
			return err
		}
		size += int64(len(k) + len(e.value))
		if name[0] == taskKey && e.value == nil {
			removed++
		}
		if n++; n == most {
			if err := commit(); err != nil {
				return err
			}
		}
	}
	return commit()
}

// writeRecent waits until Badger has what was written so far.
func (s *Store) writeRecent(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	for range 2 { // the second time waits for the first
		if err := s.doTurn(ctx); err != nil {
			return err
		}
	}
	return nil
}

// doTurn has the committing goroutine make a turn.
func (s *Store) doTurn(ctx context.Context) error {
	p := newStep(task.ID{}, toRemove)
	p.turn = true
	return s.do(ctx, p)
}
