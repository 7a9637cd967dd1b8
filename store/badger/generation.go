package badger

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/ringback/ringback/task"
)

// recent is what the journal has and Badger may not have yet, which saves
// Badger most of its work: of a task that comes and is done while its writes
// are here, Badger gets what is left in the end, if anything.
//
// A generation is what is in one file of the journal. The committing goroutine
// alone changes which there are, and what is in the active one.
type recent struct {
	mu       sync.RWMutex
	active   *generation // that grows
	flushing *generation // that is being written to Badger; nil if there is none
	// rotated is how many generations there were before the active one, and
	// flushed how many of them Badger has got.
	rotated, flushed int
	// spare is one of those, whose memory is used again.
	spare *generation
}

// generation has the latest write of each key.
type generation struct {
	entries map[string]entry
	values  []byte // of all entries, of older ones as well
	last    uint64 // record of the journal; set when the generation is complete
}

type entry struct {
	value []byte // nil: deleted
	// notInBadger says that Badger has never had the key, so that deleting it
	// takes no write.
	notInBadger bool
}

func newRecent() *recent { return &recent{active: newGeneration()} }

func newGeneration() *generation { return &generation{entries: make(map[string]entry)} }

// encode encodes what steps write as a record of the journal, and has their
// values refer to it. All records of a file take so many bytes at most.
func (r *recent) encode(steps []*step, most int) (record []byte) {
	g := r.active // whose values only the caller changes
	if g.values == nil {
		g.values = make([]byte, 0, most)
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
	r.active.values = r.active.values[:len(r.active.values)-len(record)]
}

// add adds what steps write, which is in the journal.
func (r *recent) add(steps []*step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range steps {
		if len(p.writes) > 0 {
			r.active.add(p)
		}
	}
}

func (g *generation) add(p *step) {
	notInBadger := p.isNew
	if first := p.writes[0].key; !notInBadger && first[0] == taskKey {
		notInBadger = g.entries[first].notInBadger // as the task, so all that came with it and since
	}
	for _, w := range p.writes {
		e, ok := g.entries[w.key]
		if !ok {
			e.notInBadger = notInBadger
		}
		e.value = w.value
		g.entries[w.key] = e
	}
}

// get looks up a key. The caller has the lock.
func (r *recent) get(key string) (value []byte, ok bool) {
	e, ok := r.active.entries[key]
	if !ok && r.flushing != nil {
		e, ok = r.flushing.entries[key]
	}
	return e.value, ok
}

// isNew says that Badger has nothing of a task: what is not here, is not there.
// The caller has the lock.
func (r *recent) isNew(id task.ID) bool {
	name := key(taskKey, id)
	return r.active.entries[name].notInBadger || r.flushing != nil && r.flushing.entries[name].notInBadger
}

// all returns the latest writes of the keys that begin with a letter, in their
// order. The caller has the lock; what is returned is a copy.
func (r *recent) all(letter byte) (all writes) {
	for _, g := range []*generation{r.flushing, r.active} {
		if g == nil {
			continue
		}
		for key, e := range g.entries {
			if key[0] == letter {
				all.set(key, bytes.Clone(e.value))
			}
		}
	}
	slices.SortStableFunc(all, func(a, b write) int { return strings.Compare(a.key, b.key) })
	latest := all[:0]
	for i, one := range all {
		if i+1 == len(all) || all[i+1].key != one.key {
			latest = append(latest, one)
		}
	}
	return latest
}

// rotate makes the active generation, whose last record is known by now, the
// one that is flushed, and begins another.
func (r *recent) rotate(last uint64) *generation {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active.last = last
	r.rotated++
	r.flushing, r.active, r.spare = r.active, r.spare, nil
	if r.active == nil {
		r.active = newGeneration()
	}
	return r.flushing
}

// drop forgets the generation that Badger has for good. With reuse its memory
// is kept, since more is to come.
func (r *recent) drop(reuse bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reuse {
		clear(r.flushing.entries)
		r.flushing.values = r.flushing.values[:0]
		r.spare = r.flushing
	}
	r.flushing = nil
	r.flushed++
}

// empty says that Badger has it all.
func (r *recent) empty() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.flushing == nil && len(r.active.entries) == 0
}
