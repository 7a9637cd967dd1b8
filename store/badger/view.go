package badger

import (
	"bytes"
	"errors"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/task"
)

// view is what a reader or a step sees: what steps of the same commit write,
// else what is recent, else what Badger has.
type view struct {
	batch  map[string][]byte
	recent *recent     // locked; nil if nothing in it matters
	txn    *badger.Txn // nil until it is needed
	db     *badger.DB
}

// get calls use with the value of a key, which is valid until use returns;
// task.ErrNotFound.
func (v *view) get(key string, use func(value []byte) error) error {
	value, ok := v.batch[key]
	if !ok && v.recent != nil {
		value, ok = v.recent.get(key)
	}
	if ok {
		if value == nil {
			return task.ErrNotFound
		}
		return use(value)
	}
	if v.recent != nil && key[0] != nameKey && v.recent.isNew(idOf(key)) {
		return task.ErrNotFound // without asking Badger
	}
	if v.txn == nil {
		v.txn = v.db.NewTransaction(false)
	}
	item, err := v.txn.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return task.ErrNotFound
	}
	if err != nil {
		return err
	}
	return item.Value(use)
}

func (v *view) close() {
	if v.txn != nil {
		v.txn.Discard()
	}
}

// view calls read with a view of a task. It is of one moment: steps of the
// task that come meanwhile are not in it.
func (s *Store) view(id task.ID, read func(*view) error) error {
	name := key(taskKey, id) // which each step of a task writes
	s.recent.mu.RLock()
	if _, ok := s.recent.get(name); ok {
		defer s.recent.mu.RUnlock()
		v := &view{recent: s.recent, db: s.db}
		defer v.close()
		return read(v)
	}
	s.recent.mu.RUnlock()
	isRecent := false
	txn := s.begin(func() { _, isRecent = s.recent.get(name) })
	defer txn.Discard()
	if isRecent { // by now
		return s.view(id, read)
	}
	return read(&view{txn: txn})
}

// begin begins a transaction of Badger that fits to what look finds in recent:
// it has all that was there before, and nothing that came later. It does not
// keep the lock, as it may have to wait for Badger.
func (s *Store) begin(look func()) *badger.Txn {
	for {
		s.recent.mu.RLock()
		look()
		rotated, flushed := s.recent.rotated, s.recent.flushed
		s.recent.mu.RUnlock()
		txn := s.db.NewTransaction(false)
		s.recent.mu.RLock()
		fits := s.recent.rotated == rotated && s.recent.flushed == flushed
		s.recent.mu.RUnlock()
		if fits {
			return txn
		}
		txn.Discard()
	}
}

// each calls each with the keys that begin with the letter that the key from
// does, and their values: in their order, beginning with from, or backwards.
// Key and value are valid until each returns. It ends the loop with an error,
// or errEnough, which is none. All keys are of one moment; each may call the
// store.
func (s *Store) each(from string, backwards bool, each func(key, value []byte) error) error {
	var recent writes
	txn := s.begin(func() { recent = s.recent.all(from[0]) })
	defer txn.Discard()

	order := bytes.Compare
	if backwards {
		order = func(a, b []byte) int { return bytes.Compare(b, a) }
		slices.Reverse(recent)
	}
	first := []byte(from)
	recent = slices.DeleteFunc(recent, func(w write) bool { return order([]byte(w.key), first) < 0 })
	it := txn.NewIterator(badger.IteratorOptions{Prefix: first[:1], Reverse: backwards})
	defer it.Close()
	it.Seek(first)

	var item *badger.Item
	ofItem := func(value []byte) error { return each(item.Key(), value) }
	var err error
	for err == nil && (len(recent) > 0 || it.Valid()) {
		which := 1 // more than zero: Badger's key is next
		if len(recent) > 0 {
			which = -1
			if it.Valid() {
				which = order([]byte(recent[0].key), it.Item().Key())
			}
		}
		if which > 0 {
			item = it.Item()
			err = item.Value(ofItem)
			it.Next()
			continue
		}
		if which == 0 { // an older value of the same key
			it.Next()
		}
		if w := recent[0]; w.value != nil {
			err = each([]byte(w.key), w.value)
		}
		recent = recent[1:]
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a loop.
var errEnough = errors.New("enough")
